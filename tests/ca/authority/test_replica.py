"""Replicas of one authority: cases 5 and 12, and the lease that keeps their serials apart, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from ca.authority import issuance
from ca.authority.replica import LEASE, Replica
from ca.refusals import Reason, Refused
from ca.store import replicas, schema
from ca.store.transaction import Database
from tests.ca.authority.stage import START, Clock, Stage, failing, run


class Pair:
    """Two replicas, each with connections of its own, on one database and one clock."""

    def __init__(self, url: str) -> None:
        schema.upgrade(url)
        self.clock = Clock()
        self.databases = Database(url), Database(url)
        self.one, self.two = (
            Replica(database, self.clock, name) for database, name in zip(self.databases, "ab", strict=True)
        )

    def octet(self, replica: Replica) -> int:
        database = self.databases[0 if replica is self.one else 1]
        return database.write(replica.octet).result()


@pytest.fixture
def pair(database_url: str) -> Iterator[Pair]:
    made = Pair(database_url)
    yield made
    for database in made.databases:
        database.close()


def test_two_replicas_never_have_one_octet(pair: Pair) -> None:
    run(pair.one.keep())
    run(pair.two.keep())
    assert (pair.octet(pair.one), pair.octet(pair.two)) == (1, 2)


def test_a_kept_lease_stays_however_long(pair: Pair) -> None:
    run(pair.one.keep())
    for _ in range(10):
        pair.clock.now += LEASE * 0.9
        run(pair.one.keep())
        run(pair.two.keep())
    assert (pair.octet(pair.one), pair.octet(pair.two)) == (1, 2)


def test_one_that_slept_issues_on_while_nobody_took_its_place(pair: Pair) -> None:
    run(pair.one.keep())
    pair.clock.now += LEASE * 100
    assert pair.octet(pair.one) == 1


def test_one_whose_place_was_taken_issues_nothing_until_it_has_another(pair: Pair) -> None:
    run(pair.one.keep())
    pair.clock.now += LEASE
    run(pair.two.keep())
    assert pair.octet(pair.two) == 1
    with pytest.raises(Refused) as refused:
        pair.octet(pair.one)
    assert refused.value.reason is Reason.UNAVAILABLE
    run(pair.one.keep())
    assert (pair.octet(pair.one), pair.octet(pair.two)) == (2, 1)


def test_before_the_first_lease_nothing_is_issued(pair: Pair) -> None:
    with pytest.raises(Refused):
        pair.octet(pair.one)


def test_who_leaves_frees_its_place_at_once(pair: Pair) -> None:
    run(pair.one.keep())
    run(pair.one.leave())
    run(pair.two.keep())
    assert pair.octet(pair.two) == 1
    with pytest.raises(Refused):
        pair.octet(pair.one)


def test_the_last_place_and_none(pair: Pair) -> None:
    until = START + timedelta(days=1)
    for number in replicas.OCTETS[:-1]:
        pair.databases[0].write(lambda c, n=number: replicas.take(c, f"other-{n}", START, until)).result()  # type: ignore[misc] # one number a turn
    run(pair.one.keep())
    assert pair.octet(pair.one) == 0x7F
    with pytest.raises(Refused, match="127"):
        run(pair.two.keep())


def test_many_that_start_at_once_are_all_apart(pair: Pair) -> None:
    started = [Replica(pair.databases[n % 2], pair.clock, f"many-{n}") for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda replica: run(replica.keep()), started))
    octets = [pair.databases[n % 2].write(replica.octet).result() for n, replica in enumerate(started)]
    assert sorted(octets) == list(range(1, 41))


def test_the_living_are_those_whose_leases_run_and_oneself(pair: Pair) -> None:
    assert pair.one.living() == set()
    run(pair.one.keep())
    run(pair.two.keep())
    assert pair.one.living() == pair.two.living() == {1, 2}
    pair.clock.now += LEASE
    assert (pair.one.living(), pair.two.living()) == ({1}, {2})


# Within an authority.


def test_an_authority_that_lost_its_place_signs_nothing(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    replica = Replica(stage.database, stage.clock, "a")
    stage.authority = stage.over(stage.database, replica=replica.octet)
    ready_to_enrol(stage)
    with pytest.raises(Refused) as refused:
        stage.enrol(stage.token())
    assert refused.value.reason is Reason.UNAVAILABLE
    assert stage.signer.signed == []
    run(replica.keep())
    assert stage.enrol(stage.token()).intent.serial.octets[0] == 1
    stage.close()


def test_what_a_living_replica_has_under_way_is_left_to_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.authority = stage.over(stage.database, replica=lambda _: 7)
    ready_to_enrol(stage)
    stage.signer.instead = failing()
    with pytest.raises(Refused):
        stage.enrol(stage.token())
    stage.signer.instead = None
    assert run(issuance.recover(stage.authority, {7})) == []
    assert len(run(issuance.recover(stage.authority, {8}))) == 1
    stage.close()


def ready_to_enrol(stage: Stage) -> None:
    """An agent and its task."""
    stage.agent()
    stage.task()
