"""Two CA processes of one authority on PostgreSQL: cases 5 and 12 with the real thing."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest

from tests.postgres import Cluster
from tests.world import World, key_and_csr

TOKENS = 40
RACERS = 4
TOGETHER = 8


@pytest.fixture(scope="module")
def pair(postgres: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, World]]:
    """Two that share the database, the token and the home."""
    url = postgres.new_database()
    one = World(tmp_path_factory.mktemp("one"), REMIT_DATABASE_URL=url).init().start()
    two = World(tmp_path_factory.mktemp("two"), REMIT_DATABASE_URL=url, REMIT_HOME=str(one.home))
    two.home = one.home
    two.start()
    yield one, two
    for world in (two, one):
        world.stop()


def octet(serial: str) -> int:
    return int(serial, 16).to_bytes(19, "big")[0]


def test_a_race_for_one_token_on_two_replicas_makes_one_certificate(pair: tuple[World, World]) -> None:
    one, _ = pair
    agent = one.new_agent()
    tokens = [one.token(agent) for _ in range(TOKENS)]
    csrs = [key_and_csr()[1] for _ in range(RACERS)]

    def race(attempt: tuple[str, int]) -> tuple[str, int, str]:
        token, number = attempt
        answer = pair[number % 2].post_csr(token, csrs[number])
        return token, answer.status_code, answer.json().get("serial", "")

    with ThreadPoolExecutor(TOGETHER) as pool:
        outcomes = list(pool.map(race, product(tokens, range(RACERS))))
    winners = {token: serial for token, status, serial in outcomes if status == 201}
    assert set(winners) == set(tokens)
    assert sum(status == 201 for _, status, _ in outcomes) == TOKENS
    assert {status for _, status, _ in outcomes} <= {201, 401, 409, 503}
    assert len(set(winners.values())) == TOKENS
    assert len({octet(serial) for serial in winners.values()}) == 2, "both replicas won, each with its own octet"


def test_a_replica_that_was_killed_keeps_its_octet_to_itself(pair: tuple[World, World]) -> None:
    """Its lease outlives it; the one that comes back takes another, and the one that lives noticed nothing."""
    one, two = pair
    token = one.token(one.new_agent())
    before = octet(two.post_csr(token, key_and_csr()[1]).json()["serial"])
    two.stop(signal.SIGKILL)
    alive = octet(one.post_csr(one.token(one.new_agent()), key_and_csr()[1]).json()["serial"])
    two.start()
    after = octet(two.post_csr(one.token(one.new_agent()), key_and_csr()[1]).json()["serial"])
    assert len({before, alive, after}) == 3
