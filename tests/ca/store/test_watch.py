"""A commit wakes who waits, on both kinds of database; a database that goes away is said to be, and comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import pytest
from sqlalchemy import text

from ca.refusals import Reason, Refused
from ca.store.transaction import Connection, Database
from ca.store.watch import CHANNEL, Watcher
from tests.ca.store.rows import intent, issue, written
from tests.postgres import Cluster, binaries

LONG = 20.0


@pytest.fixture
def watcher(url: str, database: Database) -> Iterator[Watcher]:
    """One that has looked once."""
    opened = Watcher(url)
    opened.wait(0)
    yield opened
    opened.close()


def change(database: Database, number: int = 1) -> None:
    """A commit, with the notice where there is such a thing."""

    def act(connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"NOTIFY {CHANNEL}"))

    issue(database, intent(number))
    written(database, act)


def waited(watcher: Watcher, seconds: float) -> float:
    begun = time.monotonic()
    watcher.wait(seconds)
    return time.monotonic() - begun


def test_the_first_wait_is_none(url: str, database: Database) -> None:
    watcher = Watcher(url)
    assert waited(watcher, LONG) < LONG / 2
    watcher.close()


def test_without_a_commit_it_waits_to_the_end(watcher: Watcher) -> None:
    assert waited(watcher, 0.2) >= 0.2


def test_a_commit_wakes_it(watcher: Watcher, database: Database) -> None:
    timer = Timer(0.1, change, [database])
    timer.start()
    assert 0.1 <= waited(watcher, LONG) < LONG / 2
    timer.join()


def test_a_commit_between_two_waits_ends_the_second(watcher: Watcher, database: Database) -> None:
    change(database)
    assert waited(watcher, LONG) < LONG / 2


def test_a_hundred_commits_wake_it_a_few_times(watcher: Watcher, database: Database) -> None:
    """Once where all notices have arrived; the server may still be sending the last."""
    for number in range(100):
        change(database, number)
    woken = 0
    while waited(watcher, 0.2) < 0.2:
        woken += 1
    assert 1 <= woken < 10


def test_what_was_rolled_back_wakes_nobody(watcher: Watcher, database: Database) -> None:
    def act(connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"NOTIFY {CHANNEL}"))
        raise Refused(Reason.CONFLICT, "No.")

    with pytest.raises(Refused):
        written(database, act)
    assert waited(watcher, 0.2) >= 0.2


def test_a_database_that_goes_away_is_unavailable_and_comes_back(postgres: Cluster) -> None:
    url = postgres.new_database()
    watcher = Watcher(url)
    watcher.wait(0)
    postgres.forbid(url)
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            watcher.wait(LONG)
        assert refused.value.reason is Reason.UNAVAILABLE
    postgres.allow(url)
    assert waited(watcher, LONG) < LONG / 2
    assert waited(watcher, 0.2) >= 0.2
    watcher.close()


def test_a_file_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    watcher = Watcher(f"sqlite:///{tmp_path / 'nowhere' / 'remit.db'}")
    with pytest.raises(Refused):
        watcher.wait(0)
    watcher.close()


def test_a_standby_is_looked_at() -> None:
    """It takes no LISTEN: what it replays is a change."""
    programs = binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not on this machine; ./deploy/test installs it")
    primary = Cluster(programs)
    standby = primary.follow()
    url = primary.new_database().replace(primary.address, standby.address)
    while not standby.has_all_of(primary):
        time.sleep(0.01)
    watcher = Watcher(url)
    watcher.wait(0)
    primary.new_database()
    assert waited(watcher, LONG) < LONG / 2
    watcher.close()
    for one in (standby, primary):
        one.stop()
