from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import wait
from datetime import datetime, timedelta

import pytest

from ca.store import leases
from ca.store.leases import Held, Lease
from ca.store.transaction import Connection, Database
from tests.ca.store.rows import NOW, written

NAME = "crl"
LENGTH = timedelta(seconds=4)
SECOND = timedelta(seconds=1)


def take(database: Database, holder: str, now: datetime = NOW, name: str = NAME) -> Lease | None:
    return written(database, lambda connection: leases.take(connection, name, holder, now, now + LENGTH))


def fence(database: Database, holder: str, now: datetime = NOW) -> int | None:
    lease = take(database, holder, now)
    return lease and lease.fence


def give_back(database: Database, holder: str) -> None:
    written(database, lambda connection: leases.give_back(connection, NAME, holder))


def held(database: Database, name: str = NAME) -> Held | None:
    with database.read() as connection:
        return leases.find(connection, name)


def holds(database: Database, lease: Lease | None) -> bool:
    assert lease is not None
    return written(database, lambda connection: leases.holds(connection, lease))


def test_the_first_one_has_it_and_another_does_not(database: Database) -> None:
    assert held(database) is None
    first = take(database, "a")
    assert first == Lease(NAME, "a", 1)
    assert take(database, "b") is None
    assert held(database) == Held(first, NOW + LENGTH)
    assert holds(database, first)
    assert not holds(database, Lease("other", "a", 1))


def test_each_name_has_its_own(database: Database) -> None:
    take(database, "a")
    assert take(database, "b", name="other") == Lease("other", "b", 1)
    assert holds(database, Lease(NAME, "a", 1))


def test_its_holder_takes_it_again_and_remains_the_same_one(database: Database) -> None:
    first = take(database, "a")
    for seconds in (1, 2, 60):
        now = NOW + seconds * SECOND
        assert take(database, "a", now) == first
        assert held(database) == Held(Lease(NAME, "a", 1), now + LENGTH)


def test_it_lapses_at_its_end(database: Database) -> None:
    first = take(database, "a")
    assert take(database, "b", NOW + LENGTH - SECOND) is None
    second = take(database, "b", NOW + LENGTH)
    assert second == Lease(NAME, "b", 2)
    assert not holds(database, first)
    assert holds(database, second)
    assert take(database, "a", NOW + LENGTH) is None


def test_a_lease_of_a_clock_that_was_ahead_holds_nothing_up(database: Database) -> None:
    take(database, "a", NOW + timedelta(days=9))
    assert take(database, "b") == Lease(NAME, "b", 2)
    assert held(database) == Held(Lease(NAME, "b", 2), NOW + LENGTH)


def test_one_that_ends_with_mine_is_still_anothers(database: Database) -> None:
    """Two clocks that agree: neither is ahead."""
    take(database, "a")
    assert take(database, "b", NOW) is None


def test_the_fence_rises_with_each_holder_and_no_other(database: Database) -> None:
    fences = [fence(database, holder, NOW + number * LENGTH) for number, holder in enumerate("abbaccab")]
    assert fences == [1, 2, 2, 3, 4, 4, 5, 6]


def test_it_is_seized_whoever_has_it(database: Database) -> None:
    first = take(database, "a")
    until = NOW + timedelta(minutes=5)
    seized = written(database, lambda connection: leases.seize(connection, NAME, "ceremony", until))
    assert seized == Lease(NAME, "ceremony", 2)
    assert held(database) == Held(seized, until)
    assert not holds(database, first)
    fresh = written(database, lambda connection: leases.seize(connection, "fresh", "ceremony", until))
    assert fresh == Lease("fresh", "ceremony", 1)


def test_what_is_given_back_is_free_at_once_and_its_fence_goes_on(database: Database) -> None:
    first = take(database, "a")
    give_back(database, "b")
    assert take(database, "b") is None, "it was not theirs to give"
    give_back(database, "a")
    assert holds(database, first), "until another takes it"
    assert take(database, "b") == Lease(NAME, "b", 2)
    assert not holds(database, first)


def test_of_many_that_take_it_at_once_one_has_it(url: str, database: Database) -> None:
    databases = [database, *(Database(url) for _ in range(3))]
    futures = [
        one.write(lambda connection, one=one: leases.take(connection, NAME, str(id(one)), NOW, NOW + LENGTH))  # type: ignore[misc] # one holder a turn
        for one in databases
    ]
    assert [lease.fence for future in futures if (lease := future.result(30)) is not None] == [1]
    for one in databases[1:]:
        one.close()


@pytest.fixture
def other(url: str, database: Database) -> Iterator[Database]:
    second = Database(url)
    yield second
    second.close()


def test_nobody_takes_it_from_a_transaction_that_relies_on_it(database: Database, other: Database) -> None:
    """What is written under a fence is committed before there is another."""
    lease = take(database, "a")
    assert lease is not None
    looked, proceed = threading.Event(), threading.Event()

    def act(connection: Connection) -> bool:
        found = leases.holds(connection, lease)
        looked.set()
        assert proceed.wait(10)
        return found

    relying = database.write(act)
    assert looked.wait(10)
    later = NOW + LENGTH
    taking = other.write(lambda connection: leases.take(connection, NAME, "b", later, later + LENGTH))
    # However long it is given, it cannot end before the first does.
    assert wait([taking], timeout=0.3).not_done
    proceed.set()
    assert relying.result(10)
    assert taking.result(10) == Lease(NAME, "b", 2)
    assert not holds(database, lease)
