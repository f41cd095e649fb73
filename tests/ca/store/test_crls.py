"""Which list is in force, what it must say, and what has changed since: on both kinds of database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509

from ca.authority.revoke import REASONS
from ca.pki import crl as lists
from ca.pki.profile import Kind
from ca.store import crls, issuers
from ca.store.crls import DELTA, FULL, Base, Entries, Heading, PublishedCrl
from ca.store.transaction import Database
from ca.store.watch import Watcher
from tests.ca.store.rows import ISSUER, NOW, crl, hold, intent, issue, issuer, release, revoke, written

LATER = NOW + timedelta(seconds=5)
LONG_AGO = NOW - timedelta(days=1)
HOLD, SUPERSEDED = x509.ReasonFlags.certificate_hold, x509.ReasonFlags.superseded
UNSPECIFIED, REMOVED = x509.ReasonFlags.unspecified, x509.ReasonFlags.remove_from_crl
BASE = Base(3, NOW - timedelta(minutes=9), 2)


def put(database: Database, one: PublishedCrl) -> bool:
    return written(database, lambda connection: crls.put(connection, one))


def in_force(database: Database, shard: int = FULL, issuer: str = ISSUER) -> PublishedCrl | None:
    with database.read() as connection:
        return crls.find(connection, issuer, shard)


def heading(one: PublishedCrl) -> Heading:
    return Heading(**{field.name: getattr(one, field.name) for field in fields(Heading)})


def take(database: Database, at_least: int = 0, issuer: str = ISSUER) -> int:
    return written(database, lambda connection: crls.take_number(connection, issuer, at_least))


def test_numbers_increase_strictly_for_each_issuer(database: Database) -> None:
    written(database, lambda connection: issuers.add(connection, issuer("root-1", Kind.ROOT)))
    assert [take(database) for _ in range(4)] == [1, 2, 3, 4]
    assert take(database, issuer="root-1") == 1


def test_a_number_is_at_least_what_is_asked_for_and_never_taken_before(database: Database) -> None:
    """A restored backup has forgotten numbers; a clock that went back must not repeat them."""
    milliseconds = 1_936_000_000_000
    asked = [5, 5, 6, 100, 7, milliseconds, milliseconds - 1, milliseconds + 9]
    expected = [5, 6, 7, 100, 101, milliseconds, milliseconds + 1, milliseconds + 9]
    assert [take(database, at_least) for at_least in asked] == expected


def test_two_generators_never_take_one_number(url: str, database: Database) -> None:
    """Case 16."""
    taken: list[int] = []
    in_order: list[bool] = []

    def work(mine: Database) -> None:
        own = [take(mine, number) for number in range(40)]
        in_order.append(own == sorted(own))
        taken.extend(own)

    other = Database(url)
    threads = [threading.Thread(target=work, args=(one,)) for one in (database, other, database)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    other.close()
    assert sorted(taken) == list(range(1, 121))
    assert in_order == [True] * 3


def test_the_first_list_is_put(database: Database) -> None:
    assert in_force(database) is None
    assert put(database, crl(1))
    assert in_force(database) == crl(1)


@pytest.mark.parametrize(
    ("later", "accepted"),
    [
        (crl(6, revision=2), True),
        (crl(6, NOW + timedelta(minutes=1)), True),
        (crl(9, NOW + timedelta(days=1)), True),
        (crl(5), False),
        (crl(5, NOW + timedelta(minutes=1)), False),
        (crl(4, NOW + timedelta(minutes=1)), False),
        (crl(6, NOW - timedelta(seconds=1)), False),
        (crl(6, NOW - timedelta(hours=1)), False),
    ],
    ids=[
        "next",
        "next, later",
        "much later",
        "the same again",
        "the same number, later",
        "an older number, later",
        "thisUpdate goes back",
        "thisUpdate goes back an hour",
    ],
)
def test_a_list_replaces_only_an_older_one(database: Database, later: PublishedCrl, accepted: bool) -> None:
    """Case 16: the number increases and thisUpdate never goes back, whoever publishes."""
    put(database, crl(5))
    assert put(database, later) is accepted
    assert in_force(database) == (later if accepted else crl(5))


def test_lists_are_apart_and_their_headings_are_theirs(database: Database) -> None:
    written(database, lambda connection: issuers.add(connection, issuer("root-1", Kind.ROOT)))
    full, shard = replace(crl(4, revision=3), entries=2), crl(2, shard=1)
    delta = replace(crl(4, shard=DELTA, revision=3), entries=1, base=BASE)
    root = replace(crl(1), issuer="root-1")
    for one in (shard, full, root, delta):
        assert put(database, one)
    assert [in_force(database, one.shard) for one in (delta, full, shard)] == [delta, full, shard]
    assert in_force(database, issuer="root-1") == root
    with database.read() as connection:
        assert crls.headings(connection, ISSUER) == [heading(one) for one in (delta, full, shard)]
        assert crls.headings(connection) == [heading(one) for one in (delta, full, shard, root)]
        assert crls.headings(connection, "nobody") == []


def test_a_delta_may_change_its_base(database: Database) -> None:
    newer = replace(BASE, number=4, revision=5)
    put(database, replace(crl(5, shard=DELTA), base=BASE))
    assert put(database, replace(crl(6, shard=DELTA), base=newer))
    found = in_force(database, DELTA)
    assert found is not None
    assert found.base == newer


@pytest.fixture
def watcher(url: str, database: Database) -> Iterator[Watcher]:
    opened = Watcher(url)
    opened.wait(0)
    yield opened
    opened.close()


def test_a_new_list_wakes_who_waits(database: Database, watcher: Watcher) -> None:
    put(database, crl(1))
    done = threading.Thread(target=watcher.wait, args=(60,))
    done.start()
    done.join(30)
    assert not done.is_alive()


def entries(database: Database, shard: int = FULL, before: datetime = LONG_AGO, issuer: str = ISSUER) -> list[Entries]:
    with database.read() as connection:
        return crls.entries(connection, issuer, shard, before)


def numbers(runs: list[Entries]) -> list[int]:
    """The last octets of the serials; each run names what it says."""
    assert all(lists.names(run.der, run.serials) for run in runs)
    return sorted(run.serials[end - 1] for run in runs for end in range(19, len(run.serials) + 1, 19))


def counts(database: Database, before: datetime = LONG_AGO) -> dict[int, int]:
    with database.read() as connection:
        return crls.counts(connection, ISSUER, before)


def test_the_entries_of_each_length_are_together_and_are_those_of_their_rows(database: Database) -> None:
    late, expected = NOW.replace(year=2050), {}
    reasons = [UNSPECIFIED, *(one for one in REASONS.values() if one is not UNSPECIFIED), HOLD]
    for number, reason in enumerate(reasons * 2):
        at = NOW if number < len(reasons) else late
        pair = [intent(2 * number + each, not_after=late) for each in (0, 1)]
        issue(database, *pair)
        assert revoke(database, *pair, at=at, reason=reason) == 2
        expected |= {one.serial.octets: lists.entry(one.serial, at, reason) for one in pair}
    runs = entries(database)
    assert [len(run.der) * 19 // len(run.serials) for run in runs] == [38, 40, 52, 54]
    for run in runs:
        found = [run.serials[start : start + 19] for start in range(0, len(run.serials), 19)]
        assert run.der == b"".join(expected.pop(serial) for serial in found)
    assert expected == {}


def test_no_entries_are_no_run(database: Database) -> None:
    assert entries(database) == []
    assert counts(database) == {}


def test_thousands_of_entries(database: Database) -> None:
    many = [intent(number) for number in range(5000)]
    issue(database, *many)
    revoke(database, *many)
    [run] = entries(database)
    assert lists.names(run.der, run.serials)
    assert lists.serials(run.der) == {one.serial.octets for one in many}
    assert counts(database) == {1: 5000}


def test_the_full_list_has_all_shards_and_a_shard_its_own(database: Database) -> None:
    for number, shard in ((1, 1), (2, 2), (3, 1)):
        one = intent(number, crl_shard=shard)
        issue(database, one)
        revoke(database, one)
    assert [numbers(entries(database, shard)) for shard in (FULL, 1, 2, 3)] == [[1, 2, 3], [1, 3], [2], []]
    assert entries(database, issuer="root-1") == []
    assert counts(database) == {1: 2, 2: 1}


def test_an_entry_leaves_only_after_its_certificates_end(database: Database) -> None:
    """RFC 5280 3.3: it stays for one list beyond; `lists` says how much that is."""
    one = intent(1)
    issue(database, one)
    revoke(database, one)
    after = one.not_after + timedelta(seconds=1)
    assert numbers(entries(database, before=one.not_after)) == [1]
    assert counts(database, one.not_after) == {1: 1}
    assert entries(database, before=after) == []
    assert counts(database, after) == {}


def test_what_was_released_is_not_listed(database: Database) -> None:
    issue(database, intent(1), intent(2))
    hold(database, intent(1), intent(2))
    release(database, intent(1))
    assert numbers(entries(database)) == [2]
    assert counts(database) == {1: 1}


def changes(database: Database, since: int, limit: int = 100, before: datetime = LONG_AGO) -> list[bytes] | None:
    with database.read() as connection:
        return crls.changes(connection, ISSUER, since, before, limit)


def said(number: int, at: datetime, reason: x509.ReasonFlags) -> bytes:
    return lists.entry(intent(number).serial, at, reason)


def test_a_delta_has_what_changed_after_its_base(database: Database) -> None:
    """The revisions are 2 to 6."""
    issue(database, *(intent(number) for number in range(1, 6)))
    revoke(database, intent(1))
    hold(database, intent(2), intent(3))
    revoke(database, intent(4), at=LATER, reason=UNSPECIFIED)
    release(database, intent(2), LATER)
    revoke(database, intent(3), at=LATER)
    released, good = said(2, LATER, REMOVED), said(3, LATER, SUPERSEDED)
    assert changes(database, 6) == []
    assert changes(database, 5) == [good]
    assert changes(database, 4) == [released, good]
    assert set(changes(database, 1) or ()) == {
        *(released, good),
        *(said(1, NOW, SUPERSEDED), said(4, LATER, UNSPECIFIED)),
    }


def test_what_was_released_and_then_held_or_revoked_anew_says_the_latter(database: Database) -> None:
    issue(database, intent(1), intent(2), intent(3))
    hold(database, intent(1), intent(2), intent(3))
    for number in (1, 2, 3):
        release(database, intent(number), NOW)
    hold(database, intent(1), intent(3), at=LATER)
    revoke(database, intent(2), at=LATER)
    assert set(changes(database, 2) or ()) == {
        *(said(1, LATER, HOLD), said(3, LATER, HOLD), said(2, LATER, SUPERSEDED)),
    }
    release(database, intent(3), LATER + timedelta(seconds=9))
    assert said(3, LATER + timedelta(seconds=9), REMOVED) in (changes(database, 2) or ())
    assert len(changes(database, 2) or ()) == 3, "of two releases the last"


def test_what_expired_is_no_change(database: Database) -> None:
    one, two = intent(1), intent(2)
    issue(database, one, two)
    revoke(database, one)
    hold(database, two)
    release(database, two)
    assert len(changes(database, 1, before=one.not_after) or ()) == 2
    assert changes(database, 1, before=one.not_after + timedelta(seconds=1)) == []


def test_too_many_changes_are_no_delta(database: Database) -> None:
    issue(database, *(intent(number) for number in range(6)))
    hold(database, *(intent(number) for number in range(6)))
    release(database, intent(0))
    release(database, intent(1))
    for limit in range(6):
        assert changes(database, 1, limit) is None
    assert len(changes(database, 1, 6) or ()) == 6


def test_one_that_is_held_and_released_often_hides_no_other(database: Database) -> None:
    issue(database, intent(1), intent(2))
    hold(database, intent(2))
    for second in range(9):
        at = NOW + timedelta(seconds=second)
        hold(database, intent(1), at=at)
        release(database, intent(1), at)
    release(database, intent(2), LATER)
    assert changes(database, 2, limit=5) is None, "not what a limit has left of them"
    last = NOW + timedelta(seconds=8)
    assert changes(database, 2) == [said(1, last, REMOVED), said(2, LATER, REMOVED)]


def test_the_shards_that_changed_are_known(database: Database) -> None:
    """Revisions 2 to 5."""
    made = [intent(number, crl_shard=number) for number in (1, 2, 3, 4)]
    issue(database, *made)
    revoke(database, made[0])
    hold(database, made[1], made[2])
    revoke(database, made[3])
    release(database, made[1])
    with database.read() as connection:
        found = [crls.changed_shards(connection, ISSUER, since) for since in range(1, 6)]
        assert crls.changed_shards(connection, "root-1", 0) == set()
    assert found == [{1, 2, 3, 4}, {2, 3, 4}, {2, 4}, {2}, set()]


def test_an_entry_that_vanished_has_expired_or_was_released(database: Database) -> None:
    gone = NOW + timedelta(seconds=9)
    ended, released, listed, unknown = intent(1, not_after=NOW), intent(2), intent(3), intent(4)
    issue(database, ended, released, listed, unknown)
    hold(database, ended, released, listed)
    release(database, released, LATER)
    vanished = [one.serial.octets for one in (ended, released, listed, unknown)]
    with database.read() as connection:
        assert crls.without_reason(connection, ISSUER, vanished, 2, gone) == vanished[2:]
        assert crls.without_reason(connection, ISSUER, vanished, 2, NOW) == [vanished[0], *vanished[2:]]
        assert crls.without_reason(connection, ISSUER, vanished, 3, gone) == vanished[1:], (
            "released before it was listed"
        )
        assert crls.without_reason(connection, "root-1", vanished, 2, gone) == vanished
        assert crls.without_reason(connection, ISSUER, [], 2, gone) == []


def test_of_very_many_that_vanished_each_is_looked_at(database: Database) -> None:
    many = [intent(number, not_after=NOW) for number in range(5100)]
    issue(database, *many)
    revoke(database, *many)
    vanished = [one.serial.octets for one in [*many, intent(9999)]]
    with database.read() as connection:
        assert crls.without_reason(connection, ISSUER, vanished, 2, LATER) == [intent(9999).serial.octets]
