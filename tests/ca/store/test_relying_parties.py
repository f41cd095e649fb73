from __future__ import annotations

import pytest

from ca.identifiers import OperatorName, TenantId, Thumbprint
from ca.refusals import Reason, Refused
from ca.store import operators, relying_parties
from ca.store.operators import Operator, Role
from ca.store.relying_parties import RelyingParty
from ca.store.transaction import Database
from tests.ca.store.rows import NOW, written

FULL = RelyingParty(
    OperatorName("as-1"), "https://as.example", frozenset({TenantId("acme"), TenantId("b")}), True, Thumbprint.of(b"k")
)
LEAST = RelyingParty(OperatorName("rs-1"))


def added(database: Database, *parties: RelyingParty) -> None:
    for party in parties:
        operator = Operator(party.name, Role.RELYING_PARTY, NOW)
        written(database, lambda connection, one=operator: operators.add(connection, one))
        written(database, lambda connection, one=party: relying_parties.add(connection, one))


def test_one_comes_back_as_it_was(database: Database) -> None:
    added(database, FULL, LEAST)
    with database.read() as connection:
        assert relying_parties.named(connection, [FULL.name, LEAST.name, OperatorName("nobody")]) == {
            FULL.name: FULL,
            LEAST.name: LEAST,
        }
        assert relying_parties.by_keys(connection, [Thumbprint.of(b"k"), Thumbprint.of(b"other")]) == {FULL.key: FULL}
        assert relying_parties.named(connection, []) == relying_parties.by_keys(connection, []) == {}
        assert operators.roles(connection, [FULL.name, OperatorName("nobody")]) == {FULL.name: Role.RELYING_PARTY}


def test_a_key_is_one_partys(database: Database) -> None:
    added(database, FULL)
    with pytest.raises(Refused) as caught:
        added(database, RelyingParty(OperatorName("as-2"), key=FULL.key))
    assert caught.value.reason is Reason.CONFLICT


@pytest.mark.parametrize(
    ("tenants", "tenant", "may"),
    [
        (None, "acme", True),
        (frozenset({TenantId("acme")}), "acme", True),
        (frozenset({TenantId("acme")}), "b", False),
        (frozenset(), "acme", False),
        (None, None, True),
        (frozenset({TenantId("acme")}), None, False),
    ],
)
def test_whom_it_may_ask_about(tenants: frozenset[TenantId] | None, tenant: str | None, may: bool) -> None:
    party = RelyingParty(OperatorName("p"), tenants=tenants)
    assert party.may_ask_about(None if tenant is None else TenantId(tenant)) is may
