"""Relying parties: authorization and resource servers that ask the hook, and what they may be told."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select

from ca.identifiers import OperatorName, TenantId, Thumbprint
from ca.store.tables import relying_parties

_NAMED = select(relying_parties).where(relying_parties.c.name.in_(bindparam("names", expanding=True)))
_KEYED = select(relying_parties).where(relying_parties.c.key_sha256.in_(bindparam("keys", expanding=True)))


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """One that asks. `tenants` are those it may ask about, None all; `issuer` is its own, where it makes tokens.

    Without `sees_reasons` it hears that a certificate is of no use, and not why. `key` is the SHA-256 of a key that it
    may show instead of its certificate.
    """

    name: OperatorName
    issuer: str | None = None
    tenants: frozenset[TenantId] | None = None
    sees_reasons: bool = False
    key: Thumbprint | None = None

    def may_ask_about(self, tenant: TenantId | None) -> bool:
        """Whether certificates of this tenant exist, as far as it is told."""
        return self.tenants is None or tenant in self.tenants


def add(connection: Connection, party: RelyingParty) -> None:
    """Stores one whose operator is there. Raises `IntegrityError` for a second key that is the same."""
    connection.execute(
        insert(relying_parties).values(
            name=party.name,
            issuer=party.issuer,
            tenants=None if party.tenants is None else sorted(party.tenants),
            sees_reasons=party.sees_reasons,
            key_sha256=party.key and party.key.digest,
        )
    )


def named(connection: Connection, names: Collection[OperatorName]) -> dict[OperatorName, RelyingParty]:
    """Those of these names."""
    rows = connection.execute(_NAMED, {"names": list(names)}) if names else ()
    return {party.name: party for party in map(_party, rows)}


def by_keys(connection: Connection, keys: Collection[Thumbprint]) -> dict[Thumbprint, RelyingParty]:
    """Those that these keys belong to."""
    rows = connection.execute(_KEYED, {"keys": [key.digest for key in keys]}) if keys else ()
    return {party.key: party for party in map(_party, rows) if party.key is not None}


def _party(row: Row[Any]) -> RelyingParty:
    return RelyingParty(
        name=OperatorName(row.name),
        issuer=row.issuer,
        tenants=None if row.tenants is None else frozenset(map(TenantId, row.tenants)),
        sees_reasons=row.sees_reasons,
        key=None if row.key_sha256 is None else Thumbprint(row.key_sha256),
    )
