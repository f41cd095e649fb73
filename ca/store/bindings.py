"""Tokens that were bound to certificates: which there are, for whom, and until when."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select

from ca.identifiers import Thumbprint
from ca.policy.ceiling import Principal
from ca.store.tables import bindings

_BY_JKT = (
    select(bindings.c.jkt, bindings.c.x5t)
    .where(bindings.c.jkt.in_(bindparam("jkts", expanding=True)))
    .order_by(bindings.c.created_at)
)


@dataclass(frozen=True, slots=True)
class Binding:
    """One token: who makes it, for which client and user, bound to which certificate (and by `jkt` to its key)."""

    id: str
    party: str
    x5t: Thumbprint
    jkt: Thumbprint | None
    issuer: str | None
    client_id: str | None
    grant_type: str | None
    subject: Principal | None
    scope: str
    created_at: datetime
    expires_at: datetime


def add(connection: Connection, binding: Binding) -> None:
    """Stores one."""
    subject = binding.subject
    connection.execute(
        insert(bindings).values(
            id=binding.id,
            party=binding.party,
            x5t=binding.x5t.digest,
            jkt=binding.jkt and binding.jkt.digest,
            issuer=binding.issuer,
            client_id=binding.client_id,
            grant_type=binding.grant_type,
            subject=None if subject is None else {"iss": subject.issuer, "sub": subject.subject},
            scope=binding.scope,
            created_at=binding.created_at,
            expires_at=binding.expires_at,
        )
    )


def of_certificate(connection: Connection, x5t: Thumbprint, now: datetime) -> list[Binding]:
    """The tokens of a certificate that have not expired, oldest first."""
    query = select(bindings).where(bindings.c.x5t == x5t.digest, bindings.c.expires_at > now)
    return [_binding(row) for row in connection.execute(query.order_by(bindings.c.created_at, bindings.c.id))]


def certificates_of(connection: Connection, jkts: Collection[Thumbprint]) -> dict[Thumbprint, Thumbprint]:
    """By the thumbprint of a key that tokens were bound to, the certificate of the last of them."""
    rows = connection.execute(_BY_JKT, {"jkts": [jkt.digest for jkt in jkts]}) if jkts else ()
    return {Thumbprint(row.jkt): Thumbprint(row.x5t) for row in rows}


def forget(connection: Connection, before: datetime) -> int:
    """Deletes the tokens that expired before this moment; returns how many."""
    return connection.execute(delete(bindings).where(bindings.c.expires_at < before)).rowcount


def _binding(row: Row[Any]) -> Binding:
    return Binding(
        id=row.id,
        party=row.party,
        x5t=Thumbprint(row.x5t),
        jkt=None if row.jkt is None else Thumbprint(row.jkt),
        issuer=row.issuer,
        client_id=row.client_id,
        grant_type=row.grant_type,
        subject=None if row.subject is None else Principal(row.subject["iss"], row.subject["sub"]),
        scope=row.scope,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )
