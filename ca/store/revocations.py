"""Revocations: one row each, written once, never changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from ca.identifiers import Serial
from ca.store import journal
from ca.store.certificates import Intent
from ca.store.tables import revocations


@dataclass(frozen=True, slots=True)
class Revocation:
    """One entry of a CRL."""

    serial: Serial
    revoked_at: datetime
    reason: x509.ReasonFlags


def add(connection: Connection, revoked: Iterable[Intent], at: datetime, reason: x509.ReasonFlags) -> int:
    """Revokes; what was revoked before keeps its first date and reason. Returns how many are new."""
    rows: list[dict[str, Any]] = [
        {
            "issuer": intent.issuer,
            "serial": intent.serial.octets,
            "crl_shard": intent.crl_shard,
            "revoked_at": at,
            "reason": reason.value,
            "expires_at": intent.not_after,
        }
        for intent in revoked
    ]
    journal.note(connection, "revoke", rows)
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    # Without the option PostgreSQL's count is not kept for an INSERT.
    statement = dialect.insert(revocations).on_conflict_do_nothing().execution_options(preserve_rowcount=True)
    return sum(connection.execute(statement, row).rowcount for row in rows)


def entries(connection: Connection, issuer: str, shard: int, expired_before: datetime) -> list[Revocation]:
    """What a CRL of this shard must list, in order of serial; shard 0 is all shards.

    A certificate that expired before `expired_before` has left (RFC 5280 3.3).
    """
    query = (
        select(revocations.c.serial, revocations.c.revoked_at, revocations.c.reason)
        .where(revocations.c.issuer == issuer, revocations.c.expires_at >= expired_before)
        .order_by(revocations.c.serial)
    )
    if shard:
        query = query.where(revocations.c.crl_shard == shard)
    return [
        Revocation(Serial.from_octets(row.serial), row.revoked_at, x509.ReasonFlags(row.reason))
        for row in connection.execute(query)
    ]
