"""Case 4: a standby is promoted that had not got the last commits: they are put back, and no token works twice."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from cryptography import x509

from tests.postgres import Cluster, binaries
from tests.world import World, key_and_csr

PATIENCE = 30.0


@dataclass
class Pair:
    """A primary, the standby that follows it, and the CA that knows the addresses of both."""

    primary: Cluster
    standby: Cluster
    world: World

    def fail_over(self) -> None:
        self.primary.crash()
        self.standby.promote()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    programs = binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not on this machine")
    primary = Cluster(programs)
    name = primary.new_database().rpartition("/")[2]
    standby = primary.follow()
    user = "postgres"
    hosts = f"host={primary.address}&host={standby.address}&target_session_attrs=read-write"
    world = World(tmp_path, REMIT_DATABASE_URL=f"postgresql+psycopg://{user}@/{name}?{hosts}").init().start()
    yield Pair(primary, standby, world)
    world.stop()
    standby.stop()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


def enrolled(world: World, token: str) -> str:
    answer = world.post_csr(token, key_and_csr()[1])
    assert answer.status_code == 201, answer.text
    return str(answer.json()["serial"])


def state(world: World, serial: str) -> str:
    with world.operator() as operator:
        answer = operator.get(f"/v1/certificates/{serial}")
        return str(answer.json()["state"]) if answer.status_code == 200 else str(answer.status_code)


def serves(world: World) -> bool:
    try:
        with world.operator() as operator:
            made = operator.post("/v1/agents", json={"id": f"agent-{time.monotonic_ns()}"})
            return made.status_code == 201
    except httpx2.HTTPError:
        return False


@pytest.mark.parametrize("died", [False, True], ids=["the CA lives on", "the CA dies with it"])
def test_what_was_answered_outlives_a_failover_that_lost_it(pair: Pair, died: bool) -> None:
    world = pair.world
    agent = world.new_agent()
    before = enrolled(world, world.token(agent))
    lost_token = world.token(agent)
    until(lambda: pair.standby.has_all_of(pair.primary))
    pair.standby.cut_off()

    lost = enrolled(world, lost_token)
    with world.operator() as operator:
        revoked = operator.post(f"/v1/certificates/{before}/revoke", json={"reason": "superseded"})
        assert revoked.status_code == 200
    if died:
        world.stop(signal.SIGKILL)
    pair.fail_over()
    if died:
        world.start()
    until(lambda: serves(world))

    assert state(world, lost) == "live", "what an agent holds has its row"
    assert state(world, before) == "revoked", "what an operator was told is so"
    assert world.post_csr(lost_token, key_and_csr()[1]).status_code == 401, "it was spent"
    until(lambda: serials_in(world) >= {before})
    after = enrolled(world, world.token(agent))
    assert len({before, lost, after}) == 3
    with world.operator() as operator:
        assert operator.post(f"/v1/certificates/{lost}/revoke", json={"reason": "superseded"}).status_code == 200
    until(lambda: serials_in(world) >= {before, lost})
    assert "database_restored" in world.log()


def serials_in(world: World) -> set[str]:
    """What the published list has."""
    with httpx2.Client(trust_env=False) as anyone:
        der = anyone.get(f"{world.status_url}/crl/issuing-1.crl").content
    return {f"{one.serial_number:038x}" for one in x509.load_der_x509_crl(der)}
