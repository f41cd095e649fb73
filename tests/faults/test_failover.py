"""Case 4: a standby is promoted that had not got the last commits: they are put back, and no token works twice."""

from __future__ import annotations

import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from sqlalchemy import create_engine, text

from tests.postgres import Cluster, binaries
from tests.world import World, key_and_csr

pytestmark = pytest.mark.slow

PATIENCE = 30.0
CLIENTS, TOKENS = 4, 240


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


@pytest.mark.parametrize(
    "died",
    [
        pytest.param(False, id="the CA lives on"),
        pytest.param(True, id="the CA dies with it", marks=pytest.mark.slow),
    ],
)
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


@dataclass
class Harvest:
    """What clients got, while the database failed under them."""

    leaves: list[x509.Certificate] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)
    issuer: x509.Certificate | None = None

    def spend(self, world: World, token: str) -> None:
        """Tries until the token is spent, on this request or on an earlier one that had no answer."""
        csr = key_and_csr()[1]
        until(lambda: self._try(world, token, csr))

    def _try(self, world: World, token: str, csr: bytes) -> bool:
        answer = world.post_csr(token, csr)
        if answer.status_code == 201:
            leaf, self.issuer = x509.load_pem_x509_certificates(answer.json()["chain"].encode())
            self.leaves.append(leaf)
            return True
        self.refusals.append(answer.status_code)
        return answer.status_code == 401

    def said_of(self, world: World, leaf: x509.Certificate) -> ocsp.OCSPCertStatus:
        """What OCSP says of a leaf."""
        assert self.issuer is not None
        asked = ocsp.OCSPRequestBuilder().add_certificate(leaf, self.issuer, hashes.SHA256()).build()
        call = urllib.request.Request(
            f"{world.status_url}/ocsp",
            data=asked.public_bytes(Encoding.DER),
            headers={"Content-Type": "application/ocsp-request"},
        )
        with urllib.request.urlopen(call, timeout=10) as answer:
            return ocsp.load_der_ocsp_response(answer.read()).certificate_status


@pytest.mark.slow
def test_under_load_no_answered_certificate_is_ever_unknown(pair: Pair) -> None:
    world, harvest = pair.world, Harvest()
    agent = world.new_agent()
    tokens = [world.token(agent) for _ in range(TOKENS)]
    until(lambda: pair.standby.has_all_of(pair.primary))
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(harvest.spend, world, token) for token in tokens]
        until(lambda: len(harvest.leaves) >= TOKENS // 10)
        pair.standby.cut_off()
        beyond = len(harvest.leaves) + TOKENS // 10
        until(lambda: len(harvest.leaves) >= beyond)
        pair.fail_over()
        for client in clients:
            client.result()

    serials = {leaf.serial_number for leaf in harvest.leaves}
    assert len(serials) == len(harvest.leaves) >= TOKENS - 2 * CLIENTS, "no serial twice"
    assert 503 in harvest.refusals, "nothing was issued while the database was away"
    assert "database_restored" in world.log()
    assert {harvest.said_of(world, leaf) for leaf in harvest.leaves} == {ocsp.OCSPCertStatus.GOOD}
    with world.operator() as operator:
        revoked = operator.post("/v1/revocations", json={"agent": agent, "reason": "superseded"})
        assert revoked.status_code == 200, revoked.text
    until(lambda: {f"{serial:038x}" for serial in serials} <= serials_in(world))
    assert restored(world) >= TOKENS // 10


def restored(world: World) -> int:
    """The intents that the audit trail says were put back."""
    engine = create_engine(world.environment["REMIT_DATABASE_URL"])
    query = text("SELECT detail FROM audit WHERE action = 'database.restore'")
    with engine.connect() as connection:
        details = connection.execute(query).scalars().all()
    engine.dispose()
    return sum(detail["what"] == "intend" for detail in details)
