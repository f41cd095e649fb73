"""Idempotency keys (draft-ietf-httpapi-idempotency-key-header): which request got which certificate."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, select

from ca.identifiers import Serial, Thumbprint
from ca.store import bulk, notes
from ca.store.tables import idempotency_keys

_FIND = select(idempotency_keys).where(
    idempotency_keys.c.sha256.in_(bindparam("keys", expanding=True)), idempotency_keys.c.expires_at >= bindparam("now")
)


@dataclass(frozen=True, slots=True)
class Answered:
    """A request that was answered with a certificate. `key` is the digest of the holder's name and its key."""

    key: Thumbprint
    request: Thumbprint
    serial: Serial
    expires_at: datetime


def remember(connection: Connection, answered: Sequence[Answered], now: datetime) -> None:
    """Raises `IntegrityError` when one of the keys was used meanwhile; one whose certificate expired is free again."""
    if not answered:
        return
    expired = idempotency_keys.c.sha256.in_([one.key.digest for one in answered])
    connection.execute(delete(idempotency_keys).where(expired, idempotency_keys.c.expires_at < now))
    rows = [
        {
            "sha256": one.key.digest,
            "request_sha256": one.request.digest,
            "serial": one.serial.octets,
            "expires_at": one.expires_at,
        }
        for one in answered
    ]
    bulk.insert_all(connection, idempotency_keys, rows)
    notes.note(connection, "answer", rows)


def find(connection: Connection, keys: Collection[Thumbprint], now: datetime) -> dict[Thumbprint, Answered]:
    """What these keys were used for, as long as the certificate lasts."""
    if not keys:
        return {}
    rows = connection.execute(_FIND, {"keys": [key.digest for key in keys], "now": now})
    return {
        Thumbprint(row.sha256): Answered(
            key=Thumbprint(row.sha256),
            request=Thumbprint(row.request_sha256),
            serial=Serial.from_octets(row.serial),
            expires_at=row.expires_at,
        )
        for row in rows
    }


def forget(connection: Connection, before: datetime) -> int:
    """Deletes the keys whose certificates expired before this moment; returns how many."""
    return connection.execute(delete(idempotency_keys).where(idempotency_keys.c.expires_at < before)).rowcount
