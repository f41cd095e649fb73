"""Cases 10 and 19: blocked keys, on both kinds of database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import wait
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from sqlalchemy import event

from ca.identifiers import Thumbprint
from ca.pki.profile import Kind
from ca.store import blocked_keys, certificates, filters, revocations
from ca.store.blocked_keys import Blocking
from ca.store.filters import Filter
from ca.store.transaction import Connection, Database
from tests.ca.store.rows import ISSUER, NOW, hold, intent, issue, revoke, written

KEY, OTHER = Thumbprint.of(b"key"), Thumbprint.of(b"other")
COMPROMISED = x509.ReasonFlags.key_compromise
WHY = Blocking(COMPROMISED, NOW, "ops")


def block(database: Database, *keys: Thumbprint, why: Blocking = WHY) -> list[Thumbprint]:
    return written(database, lambda connection: blocked_keys.block(connection, keys, why))


def test_a_key_is_blocked_once_and_keeps_its_first_date_and_reason(database: Database) -> None:
    assert block(database, KEY) == [KEY]
    later = Blocking(x509.ReasonFlags.superseded, NOW + timedelta(1), "other")
    assert block(database, KEY, OTHER, why=later) == [OTHER]
    with database.read() as connection:
        assert blocked_keys.find(connection, KEY) == WHY
        assert blocked_keys.find(connection, OTHER) == later
        assert blocked_keys.find(connection, Thumbprint.of(b"?")) is None


def test_of_many_those_are_said_that_are_blocked_now_each_once(database: Database) -> None:
    many = [Thumbprint.of(b"%d" % number) for number in range(1200)]
    block(database, *many[::2])
    assert block(database, *many, *many) == many[1::2]
    assert block(database, *many) == []
    assert block(database) == []
    with database.read() as connection:
        assert blocked_keys.blocked(connection, [*many, KEY]) == set(many)


def test_of_many_keys_the_blocked_ones_are_found(database: Database) -> None:
    block(database, KEY)
    many = [Thumbprint.of(b"%d" % number) for number in range(1200)]
    with database.read() as connection:
        assert blocked_keys.blocked(connection, [*many, KEY]) == {KEY}
        assert blocked_keys.refused(connection, [*many, KEY]) == {KEY}
        assert blocked_keys.refused(connection, []) == set()


@pytest.mark.parametrize("kind", Kind)
def test_the_authoritys_own_keys_are_refused_even_when_their_certificates_have_ended(
    database: Database, kind: Kind
) -> None:
    issue(database, intent(1, kind=kind, tenant=None, not_after=NOW - timedelta(1)))
    with database.read() as connection:
        refused = blocked_keys.refused(connection, [KEY, OTHER])
        own = blocked_keys.own(connection, [KEY, OTHER])
    assert refused == ({KEY} if kind in (Kind.ROOT, Kind.ISSUING, Kind.RESPONDER, Kind.SERVER) else set())
    assert own == ({KEY} if kind in (Kind.ROOT, Kind.ISSUING, Kind.RESPONDER) else set())


def test_a_batch_is_looked_up_in_one_statement(database: Database) -> None:
    said: list[str] = []
    event.listen(database._reader, "before_cursor_execute", lambda _c, _u, statement, *_: said.append(statement))
    with database.read() as connection:
        blocked_keys.refused(connection, [Thumbprint.of(b"%d" % number) for number in range(128)])
    assert len([one for one in said if "blocked_keys" in one]) == 1


def test_the_keys_of_an_act_are_those_of_what_it_revoked_in_the_order_of_their_first(database: Database) -> None:
    third, before = Thumbprint.of(b"third"), Thumbprint.of(b"before")
    keys = [OTHER, KEY, before, OTHER, third, KEY]
    made = [intent(number, key=key) for number, key in enumerate(keys)]
    issue(database, *made)
    hold(database, made[2])

    def act(connection: Connection) -> list[Thumbprint]:
        begun = revocations.begin(connection, ISSUER, NOW, COMPROMISED)
        wanted = filters.of_keys([KEY, OTHER])
        revocations.revoke(connection, begun, wanted)
        return blocked_keys.of_revoked(connection, revocations.done_by(begun))

    assert written(database, act) == [OTHER, KEY]


def test_a_key_was_certified_whatever_became_of_it(database: Database) -> None:
    """Expired, revoked, or an intent whose certificate may be out."""
    keys = [Thumbprint.of(name) for name in (b"live", b"ended", b"revoked", b"meant")]
    live, ended, revoked, meant = (intent(number, key=key) for number, key in enumerate(keys))
    issue(database, live, replace(ended, not_after=NOW - timedelta(1)), revoked)
    written(database, lambda connection: certificates.intend(connection, [meant]))
    revoke(database, revoked)
    block(database, OTHER)
    with database.read() as connection:
        assert all(blocked_keys.were_certified(connection, key) for key in keys)
        assert not blocked_keys.were_certified(connection, OTHER)


@pytest.fixture
def replicas(url: str, database: Database) -> Iterator[tuple[Database, Database]]:
    second = Database(url)
    yield database, second
    second.close()


def test_nothing_is_certified_for_a_key_while_it_is_being_blocked(replicas: tuple[Database, Database]) -> None:
    """An enrolment looked the key up and then stores its intent; the revocation on another replica waits for it."""
    looked, proceed = threading.Event(), threading.Event()

    def enrol(connection: Connection) -> None:
        assert blocked_keys.refused(connection, [KEY]) == set()
        looked.set()
        assert proceed.wait(10)
        certificates.intend(connection, [intent(1)])

    def block(connection: Connection) -> int:
        blocked_keys.keep_still(connection)
        blocked_keys.block(connection, [KEY], WHY)
        begun = revocations.begin(connection, ISSUER, NOW, COMPROMISED)
        revocations.revoke(connection, begun, filters.narrowed(Filter(key=KEY), NOW))
        return revocations.count(connection, revocations.done_by(begun))

    enrolled = replicas[0].write(enrol)
    assert looked.wait(10)
    blocked = replicas[1].write(block)
    # However long it is given, it cannot end before the enrolment does.
    assert wait([blocked], timeout=0.5).not_done
    proceed.set()
    enrolled.result(10)
    assert blocked.result(10) == 1
    with replicas[0].read() as connection:
        assert blocked_keys.refused(connection, [KEY]) == {KEY}


def test_who_blocks_keys_and_who_revokes_and_enrols_wait_for_each_other_in_turn(
    replicas: tuple[Database, Database],
) -> None:
    """A batch that has the revision and needs the look-up, against one that has the keys and needs the revision."""
    still, proceed = threading.Event(), threading.Event()

    def block(connection: Connection) -> int:
        blocked_keys.keep_still(connection)
        still.set()
        assert proceed.wait(10)
        return revocations.begin(connection, ISSUER, NOW, COMPROMISED).revision

    def revoke(connection: Connection) -> int:
        return revocations.begin(connection, ISSUER, NOW, x509.ReasonFlags.superseded).revision

    blocked = replicas[0].write(block)
    assert still.wait(10)
    revoked, enrolled = replicas[1].write_together(
        [revoke, lambda connection: len(blocked_keys.refused(connection, [KEY]))]
    )
    # However long it is given, it cannot end before the first does.
    assert wait([revoked], timeout=0.5).not_done
    proceed.set()
    assert [one.result(10) for one in (blocked, revoked, enrolled)] == [2, 3, 0]
