from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509

from ca.authority.revoke import REASONS
from ca.identifiers import TenantId, Thumbprint
from ca.pki.profile import Kind
from ca.refusals import Reason, Refused
from ca.store import proposals
from ca.store.filters import Filter
from ca.store.proposals import Proposal
from ca.store.transaction import Database
from tests.ca.store.rows import NOW, intent, written

END = NOW + timedelta(hours=1)
SUPERSEDED = x509.ReasonFlags.superseded
ONE = Proposal("one", Filter(tenant=TenantId("acme")), SUPERSEDED, 12, "ops", NOW, END)
EVERYTHING = Filter(
    tenant=TenantId("acme"),
    kind=Kind.AGENT,
    holder="bot",
    task="invoices",
    key=Thumbprint.of(b"key"),
    descendants_of=intent(1).serial,
)


def add(database: Database, one: Proposal) -> None:
    written(database, lambda connection: proposals.add(connection, one))


def find(database: Database, name: str = "one") -> Proposal | None:
    with database.read() as connection:
        return proposals.find(connection, name)


def confirm(database: Database, name: str = "one", by: str = "second") -> bool:
    return written(database, lambda connection: proposals.confirm(connection, name, by, NOW + timedelta(minutes=1)))


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(),
        EVERYTHING,
        *(
            Filter(**{name: getattr(EVERYTHING, name)})
            for name in ("tenant", "kind", "holder", "task", "key", "descendants_of")
        ),
    ],
    ids=str,
)
def test_what_is_wanted_comes_back_as_it_was(database: Database, wanted: Filter) -> None:
    one = replace(ONE, wanted=wanted)
    add(database, one)
    assert find(database) == one


@pytest.mark.parametrize("reason", REASONS.values(), ids=REASONS.keys())
def test_so_does_the_reason(database: Database, reason: x509.ReasonFlags) -> None:
    add(database, replace(ONE, reason=reason))
    assert find(database) == replace(ONE, reason=reason)
    assert find(database, "another") is None


def test_a_name_is_taken_once(database: Database) -> None:
    add(database, ONE)
    with pytest.raises(Refused) as caught:
        add(database, replace(ONE, count=1))
    assert caught.value.reason is Reason.CONFLICT


def test_it_is_confirmed_once(database: Database) -> None:
    add(database, ONE)
    add(database, replace(ONE, id="two"))
    assert confirm(database)
    assert not confirm(database, by="third")
    assert not confirm(database, "another")
    assert find(database) == replace(ONE, confirmed_by="second")
    assert find(database, "two") == replace(ONE, id="two")


def test_those_that_wait_are_neither_confirmed_nor_lapsed_oldest_first(database: Database) -> None:
    older = replace(ONE, id="older", proposed_at=NOW - timedelta(seconds=1))
    same = replace(ONE, id="same")
    lapsed = replace(ONE, id="lapsed", expires_at=NOW)
    for one in (same, ONE, lapsed, older, replace(ONE, id="done")):
        add(database, one)
    confirm(database, "done")
    with database.read() as connection:
        assert proposals.waiting(connection, NOW) == [older, ONE, same]
        assert proposals.waiting(connection, END - timedelta(seconds=1)) == [older, ONE, same]
        assert proposals.waiting(connection, END) == []
