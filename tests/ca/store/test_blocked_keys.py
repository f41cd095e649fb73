"""Cases 10 and 19: blocked keys, on both kinds of database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import wait
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from sqlalchemy import event

from ca.identifiers import Thumbprint
from ca.pki.profile import Kind
from ca.store import blocked_keys, certificates, revocations
from ca.store.blocked_keys import BlockedKey
from ca.store.filters import Filter
from ca.store.transaction import Connection, Database
from tests.ca.store.rows import NOW, intent, issue, written

KEY, OTHER = Thumbprint.of(b"key"), Thumbprint.of(b"other")
COMPROMISED = x509.ReasonFlags.key_compromise
BLOCKED = BlockedKey(KEY, COMPROMISED, NOW, "ops")


def block(database: Database, one: BlockedKey = BLOCKED) -> bool:
    return written(database, lambda connection: blocked_keys.block(connection, one))


def test_a_key_is_blocked_once_and_keeps_its_first_date_and_reason(database: Database) -> None:
    assert block(database)
    later = replace(BLOCKED, blocked_at=NOW + timedelta(1), blocked_by="other", reason=x509.ReasonFlags.superseded)
    assert not block(database, later)
    with database.read() as connection:
        assert blocked_keys.find(connection, KEY) == BLOCKED
        assert blocked_keys.find(connection, OTHER) is None


def test_of_many_keys_the_blocked_ones_are_found(database: Database) -> None:
    block(database)
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


def test_what_is_live_for_a_key_is_found_intents_too(database: Database) -> None:
    live, ended, revoked, unfinished, foreign = (intent(number) for number in range(1, 6))
    ended, foreign = replace(ended, not_after=NOW - timedelta(seconds=1)), replace(foreign, key=OTHER)
    issue(database, live, ended, revoked, foreign)
    written(database, lambda connection: certificates.intend(connection, [unfinished]))
    written(database, lambda connection: revocations.add(connection, [revoked], NOW, COMPROMISED))
    with database.read() as connection:
        assert blocked_keys.live_serials(connection, [KEY], NOW) == [live.serial, unfinished.serial]
        assert blocked_keys.live_serials(connection, [], NOW) == []


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

    def revoke(connection: Connection) -> list[Any]:
        blocked_keys.keep_still(connection)
        blocked_keys.block(connection, BLOCKED)
        return certificates.revocable(connection, Filter(key=KEY), NOW)

    enrolled = replicas[0].write(enrol)
    assert looked.wait(10)
    revoked = replicas[1].write(revoke)
    # However long it is given, it cannot end before the enrolment does.
    assert wait([revoked], timeout=0.5).not_done
    proceed.set()
    enrolled.result(10)
    assert [record.intent.serial for record in revoked.result(10)] == [intent(1).serial]
    with replicas[0].read() as connection:
        assert blocked_keys.refused(connection, [KEY]) == {KEY}
