from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509

from ca.pki.profile import Kind
from ca.refusals import Reason, Refused
from ca.store import audit, revocations
from ca.store.audit import Entry
from ca.store.tables import certificates
from ca.store.transaction import Connection, Database
from tests.ca.store.rows import ISSUER, NOW, intent, issue, written

FULL = Entry(NOW, "ops", "task.open", "granted", "acme", "bot", "invoices", "01ff", {"scope": "a b", "n": [1, None]})
LEAST = Entry(NOW, "ops", "x", "refused")


def test_entries_come_back_in_the_order_of_their_commits(database: Database) -> None:
    for entry in (FULL, LEAST, FULL):
        written(database, lambda connection, entry=entry: audit.append(connection, entry))
    with database.read() as connection:
        assert audit.everything(connection) == [FULL, LEAST, FULL]


def test_what_was_asked_for_since_a_moment(database: Database) -> None:
    """More entries than are read at once, and among them those of other acts."""
    actions = ("certificate.intend", "certificate.issue", "certificate.enrol", "certificate.renew", "agent.add")
    entries = [
        Entry(NOW + timedelta(seconds=n), "ops", actions[n % 5], "granted", detail={"n": n}) for n in range(4000)
    ]
    written(database, lambda connection: audit.append(connection, *entries))
    with database.read() as connection:
        found = list(audit.asked(connection, NOW + timedelta(seconds=500)))
    assert found == [one for one in entries[500:] if one.action in ("certificate.intend", *actions[2:4])]


def test_what_is_refused_leaves_no_entry_of_having_been_granted(database: Database) -> None:
    def act(connection: Connection) -> None:
        audit.append(connection, FULL)
        raise Refused(Reason.CONFLICT, "No.")

    with pytest.raises(Refused):
        written(database, act)
    with database.read() as connection:
        assert audit.everything(connection) == []


def test_the_entries_for_what_was_revoked_are_those_that_one_by_one_would_be(database: Database) -> None:
    """With the names of each certificate, oldest first."""
    agents = [intent(number, holder=f"bot-{number}") for number in (3, 1, 1 << 140)]
    operator = intent(4, kind=Kind.OPERATOR, tenant=None, task=None, holder="ops")
    untouched = intent(5)
    issue(database, *agents, operator, untouched)
    entry = Entry(NOW, "ops", "certificate.revoke", "granted", detail={"reason": "superseded", "n": [1, None, "ü"]})

    def act(connection: Connection) -> None:
        begun = revocations.begin(connection, ISSUER, NOW, x509.ReasonFlags.superseded)
        revocations.revoke(connection, begun, certificates.c.serial != untouched.serial.octets)
        audit.append_for_each(connection, entry, revocations.done_by(begun))

    written(database, lambda connection: audit.append(connection, FULL))
    written(database, act)
    written(database, lambda connection: audit.append(connection, LEAST))
    with database.read() as connection:
        assert audit.everything(connection) == [
            FULL,
            *(
                replace(entry, tenant=one.tenant, agent=one.holder, task=one.task, serial=str(one.serial))
                for one in (*agents, operator)
            ),
            LEAST,
        ]


def test_what_nothing_was_revoked_by_has_no_entries(database: Database) -> None:
    def act(connection: Connection) -> None:
        begun = revocations.begin(connection, ISSUER, NOW, x509.ReasonFlags.superseded)
        audit.append_for_each(connection, LEAST, revocations.done_by(begun))

    issue(database, intent(1))
    written(database, act)
    with database.read() as connection:
        assert audit.everything(connection) == []
