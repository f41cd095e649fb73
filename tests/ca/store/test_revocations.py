"""What an act leaves behind, on both kinds of database."""

from __future__ import annotations

import threading
import time
from concurrent.futures import wait
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from sqlalchemy import Row, event, select

from ca.authority.revoke import REASONS
from ca.identifiers import Serial, Thumbprint
from ca.pki import crl
from ca.pki.profile import Kind
from ca.refusals import Reason, Refused
from ca.store import filters, issuers, revocations
from ca.store.certificates import Intent
from ca.store.filters import REVOCABLE_KINDS, Filter
from ca.store.revocations import Act
from ca.store.tables import releases
from ca.store.tables import revocations as table
from ca.store.transaction import Connection, Database
from ca.store.watch import Watcher
from tests.ca.store.rows import ISSUER, NOW, hold, intent, issue, issuer, release, revoke, written

LATER = NOW + timedelta(seconds=5)
LONG = 20.0
HOLD = x509.ReasonFlags.certificate_hold
COMPROMISED = x509.ReasonFlags.key_compromise
SUPERSEDED = x509.ReasonFlags.superseded
REMOVED = x509.ReasonFlags.remove_from_crl


def rows(database: Database) -> list[Row[Any]]:
    with database.read() as connection:
        return list(connection.execute(select(table).order_by(table.c.serial)))


def told(database: Database) -> list[tuple[Serial, datetime, x509.ReasonFlags]]:
    """Serial, date and reason of each; its entry says the same."""
    found = []
    for row in rows(database):
        one = (Serial.from_octets(bytes(row.serial)), row.revoked_at, x509.ReasonFlags(row.reason))
        assert bytes(row.entry) == crl.entry(*one)
        found.append(one)
    return found


def revision(database: Database, issuer: str = ISSUER) -> int:
    with database.read() as connection:
        return revocations.revision(connection, issuer)


def acted(database: Database, wanted: Filter, reason: x509.ReasonFlags = SUPERSEDED) -> list[Serial]:
    """Revokes what a filter names."""

    def act(connection: Connection) -> None:
        begun = revocations.begin(connection, ISSUER, NOW, reason)
        revocations.revoke(connection, begun, filters.narrowed(wanted, NOW))

    written(database, act)
    return [serial for serial, _, _ in told(database)]


@pytest.mark.parametrize("year", [2031, 2049, 2050])
@pytest.mark.parametrize("reason", [*REASONS.values(), HOLD], ids=str)
def test_the_database_writes_the_entry_of_a_crl(database: Database, reason: x509.ReasonFlags, year: int) -> None:
    at = datetime(year, 5, 6, 7, 8, 9, 999_999, tzinfo=UTC)
    end = at + timedelta(minutes=5)
    both = [intent(1, not_after=end), intent(1 << 140, not_after=end)]
    issue(database, *both)
    assert revoke(database, *both, at=at, reason=reason) == 2
    whole = at.replace(microsecond=0)
    assert told(database) == [(one.serial, whole, reason) for one in both]
    assert [(row.crl_shard, row.expires_at) for row in rows(database)] == [(1, end.replace(microsecond=0))] * 2


def test_a_revocation_is_written_once_and_never_changed(database: Database) -> None:
    """Case 19: neither date nor reason moves."""
    issue(database, intent(1), intent(2))
    assert revoke(database, intent(1), reason=COMPROMISED) == 1
    assert revoke(database, intent(1), intent(2), at=LATER) == 1
    assert revoke(database, intent(1), at=LATER, reason=HOLD) == 0
    assert told(database) == [(intent(1).serial, NOW, COMPROMISED), (intent(2).serial, LATER, SUPERSEDED)]


def test_an_act_raises_the_revision_of_its_issuer_alone_and_its_rows_carry_it(database: Database) -> None:
    written(database, lambda connection: issuers.add(connection, issuer("root-1", Kind.ROOT)))
    issue(database, intent(1), intent(2), intent(3))
    revoke(database, intent(1), intent(3))
    revoke(database, intent(2), at=LATER)
    assert revision(database) == 3
    assert [row.revision for row in rows(database)] == [2, 3, 2]
    assert revision(database, "root-1") == 1


def test_thousands_are_revoked_by_one_statement(database: Database) -> None:
    many = [intent(number) for number in range(5000)]
    issue(database, *many)
    said: list[str] = []
    event.listen(database._writer, "before_cursor_execute", lambda _c, _u, statement, *_: said.append(statement))

    def act(connection: Connection) -> int:
        begun = revocations.begin(connection, ISSUER, NOW, SUPERSEDED)
        revocations.revoke(connection, begun, filters.narrowed(Filter(holder="bot"), NOW))
        return revocations.count(connection, revocations.done_by(begun))

    assert written(database, act) == 5000
    assert len([one for one in said if one.startswith("INSERT")]) == 1
    assert len(said) < 10, "nor does anything else look at each"
    assert revision(database) == 2
    assert {serial for serial, _, _ in told(database)} == {one.serial for one in many}


def test_revoking_nothing_is_nothing(database: Database) -> None:
    issue(database, intent(1))
    assert revoke(database) == 0
    assert told(database) == []


@pytest.mark.parametrize("kind", Kind)
def test_the_authoritys_own_are_left_alone(database: Database, kind: Kind) -> None:
    issue(database, intent(1, kind=kind))
    assert revoke(database, intent(1)) == (1 if kind in REVOCABLE_KINDS else 0)


@pytest.mark.parametrize("reason", [SUPERSEDED, HOLD], ids=str)
def test_what_has_expired_is_left_alone(database: Database, reason: x509.ReasonFlags) -> None:
    """The last second still counts."""
    ended, ending = intent(1, not_after=NOW - timedelta(seconds=1)), intent(2, not_after=NOW)
    issue(database, ended, ending)
    revoke(database, ended, ending, reason=reason)
    assert told(database) == [(ending.serial, NOW, reason)]


def test_a_hold_that_has_expired_stays_one(database: Database) -> None:
    one = intent(1, not_after=NOW)
    issue(database, one)
    hold(database, one)
    assert revoke(database, one, at=LATER) == 0
    assert told(database) == [(one.serial, NOW, HOLD)]


def test_another_issuers_certificate_is_left_alone(database: Database) -> None:
    written(database, lambda connection: issuers.add(connection, issuer("issuing-2")))
    ours, theirs = intent(1), intent(1, issuer="issuing-2")
    issue(database, ours, theirs)
    assert revoke(database, theirs, issuer="issuing-2") == 1
    assert [(row.issuer, row.revision) for row in rows(database)] == [("issuing-2", 2)]
    hold(database, ours)
    assert revoke(database, theirs, at=LATER, issuer="issuing-2") == 0
    assert [row.reason for row in rows(database) if row.issuer == ISSUER] == [HOLD.value]


@pytest.mark.parametrize("reason", REASONS.values(), ids=REASONS.keys())
def test_what_is_held_is_revoked_from_now_and_for_good(database: Database, reason: x509.ReasonFlags) -> None:
    issue(database, intent(1), intent(2), intent(3))
    hold(database, intent(1), intent(2))
    assert revoke(database, intent(1), intent(3), at=LATER, reason=reason) == 2
    assert told(database) == [
        (intent(1).serial, LATER, reason),
        (intent(2).serial, NOW, HOLD),
        (intent(3).serial, LATER, reason),
    ]
    assert [row.revision for row in rows(database)] == [3, 2, 3]
    assert not release(database, intent(1), LATER)


def test_a_hold_is_not_held_again(database: Database) -> None:
    issue(database, intent(1))
    assert hold(database, intent(1)) == 1
    assert hold(database, intent(1), at=LATER) == 0
    assert told(database) == [(intent(1).serial, NOW, HOLD)]


def test_a_release_takes_the_hold_away_and_says_so(database: Database) -> None:
    one = intent(1, crl_shard=7)
    issue(database, one)
    hold(database, one)
    assert release(database, one, LATER)
    assert told(database) == []
    with database.read() as connection:
        [row] = connection.execute(select(releases))
    assert (row.issuer, bytes(row.serial), row.crl_shard, row.expires_at) == (
        ISSUER,
        one.serial.octets,
        7,
        one.not_after,
    )
    assert (row.revoked_at, row.released_at, row.revision) == (NOW, LATER, 3)
    assert bytes(row.entry) == crl.entry(one.serial, LATER, REMOVED)


def test_only_a_hold_is_released(database: Database) -> None:
    issue(database, intent(1), intent(2))
    revoke(database, intent(1))
    hold(database, intent(2))
    for one in (intent(1), intent(3)):
        assert not release(database, one)
    assert release(database, intent(2))
    assert not release(database, intent(2))
    assert told(database) == [(intent(1).serial, NOW, SUPERSEDED)]


def test_what_was_released_is_held_and_released_and_revoked_anew(database: Database) -> None:
    one, last = intent(1), NOW + timedelta(seconds=9)
    issue(database, one)
    for at in (NOW, LATER):
        assert hold(database, one, at=at) == 1
        assert release(database, one, at)
    assert revoke(database, one, at=last, reason=COMPROMISED) == 1
    assert told(database) == [(one.serial, last, COMPROMISED)]


def test_the_second_of_a_hold_that_was_released_is_known(database: Database) -> None:
    one = intent(1)

    def was_held(at: datetime, number: int = 1) -> bool:
        with database.read() as connection:
            return revocations.was_held_at(connection, ISSUER, intent(number).serial, at)

    issue(database, one, intent(2))
    hold(database, one)
    assert not was_held(NOW)
    release(database, one, LATER)
    assert was_held(NOW)
    assert was_held(NOW.replace(microsecond=999_999))
    assert not was_held(LATER)
    assert not was_held(NOW, 2)


def test_whatever_shares_a_key_with_what_an_act_revoked_is_of_it(database: Database) -> None:
    key, other = Thumbprint.of(b"shared"), Thumbprint.of(b"other")
    named, held, shared = intent(1, key=key), intent(2, key=key), intent(3, key=key, holder="second")
    before = intent(4, key=other)
    issue(database, named, held, shared, before, intent(5, key=other), intent(6))
    hold(database, held)
    revoke(database, before)

    def act(connection: Connection) -> int:
        begun = revocations.begin(connection, ISSUER, LATER, COMPROMISED)
        wanted = filters.narrowed(Filter(serial=named.serial), LATER)
        revocations.revoke_compromised(connection, begun, wanted, [])
        return revocations.count(connection, revocations.done_by(begun))

    assert written(database, act) == 3
    assert told(database) == [
        *[(one.serial, LATER, COMPROMISED) for one in (named, held, shared)],
        (before.serial, NOW, SUPERSEDED),
    ]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(descendants_of=intent(1).serial), [2, 3]),
        (Filter(state="held"), [4]),
        (Filter(state="live", holder="second"), [3]),
        (Filter(), [1, 2, 3, 4]),
    ],
    ids=["descendants", "held", "live", "everything"],
)
@pytest.mark.parametrize("reason", [SUPERSEDED, HOLD], ids=str)
def test_any_filter_says_what_is_revoked(
    database: Database, wanted: Filter, expected: list[int], reason: x509.ReasonFlags
) -> None:
    """Though it looks at revocations, or at other certificates, itself."""
    one, two = intent(1), intent(2, parent=intent(1).serial)
    three, four = intent(3, parent=two.serial, holder="second"), intent(4)
    issue(database, one, two, three, four)
    hold(database, four)
    found = acted(database, wanted, reason)
    assert found == sorted({intent(number).serial for number in expected} | {four.serial})
    changed = [] if reason is HOLD else expected
    assert [serial.octets[-1] for serial, _, why in told(database) if why is SUPERSEDED] == changed


def test_what_is_undone_raises_no_revision(database: Database) -> None:
    def act(connection: Connection) -> None:
        revocations.begin(connection, ISSUER, NOW, SUPERSEDED)
        raise Refused(Reason.CONFLICT, "No.")

    with pytest.raises(Refused):
        written(database, act)
    assert revision(database) == 1


def test_of_two_who_revoke_one_waits_for_the_others_end(url: str, database: Database) -> None:
    """Who reads a revision reads everything up to it."""
    begun, proceed, second = threading.Event(), threading.Event(), Database(url)

    def slow(connection: Connection) -> Act:
        act = revocations.begin(connection, ISSUER, NOW, SUPERSEDED)
        begun.set()
        assert proceed.wait(10)
        return act

    first = database.write(slow)
    assert begun.wait(10)
    other = second.write(lambda connection: revocations.begin(connection, ISSUER, NOW, SUPERSEDED))
    # However long it is given, it cannot end before the first does.
    assert wait([other], timeout=0.3).not_done
    proceed.set()
    assert (first.result(10).revision, other.result(10).revision) == (2, 3)
    second.close()


@pytest.mark.parametrize("change", [revoke, release], ids=["revoke", "release"])
def test_its_commit_wakes_who_waits(url: str, database: Database, change: Any) -> None:
    one: Intent = intent(1)
    issue(database, one)
    hold(database, one)
    watcher = Watcher(url)
    watcher.wait(0)
    change(database, one)
    begun = time.monotonic()
    watcher.wait(LONG)
    assert time.monotonic() - begun < LONG / 2
    watcher.close()
