"""One-time enrolment tokens: only their hashes are here, and each is spent at most once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select

from ca.identifiers import AgentId, Serial, TaskId, TenantId, Thumbprint
from ca.store import bulk, notes
from ca.store.tables import enrollment_tokens as tokens

_FIND = select(tokens).where(tokens.c.sha256.in_(bindparam("hashes", expanding=True))).order_by(tokens.c.sha256)


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """For whom a token was made. `key` binds it to one key by its SPKI digest."""

    hash: Thumbprint
    tenant: TenantId
    agent: AgentId
    task: TaskId | None
    key: Thumbprint | None
    created_by: str
    created_at: datetime
    expires_at: datetime
    spent_on: Serial | None = None


def add(connection: Connection, record: TokenRecord) -> None:
    """Stores a new token's hash."""
    connection.execute(
        insert(tokens).values(
            sha256=record.hash.digest,
            tenant=record.tenant,
            agent=record.agent,
            task=record.task,
            key_sha256=record.key.digest if record.key else None,
            created_by=record.created_by,
            created_at=record.created_at,
            expires_at=record.expires_at,
        )
    )


def find(connection: Connection, hashes: Collection[Thumbprint]) -> dict[Thumbprint, TokenRecord]:
    """The tokens of these hashes that there are, spent or not."""
    rows = connection.execute(_FIND, {"hashes": [one.digest for one in hashes]})
    return {Thumbprint(row.sha256): _record(row) for row in rows}


def spend(connection: Connection, spent: Mapping[Thumbprint, Serial], now: datetime) -> bool:
    """Compare-and-set: True when each of these was unspent until now, whoever else tries, on whichever replica.

    After False the caller rolls back.
    """
    rows = [{"sha256": token.digest, "spent_on": serial.octets, "spent_at": now} for token, serial in spent.items()]
    unspent = bulk.update_all(connection, tokens, ("sha256",), rows, "enrollment_tokens.spent_on IS NULL")
    notes.note(connection, "spend", rows)
    return unspent == len(spent)


def forget(connection: Connection, before: datetime) -> int:
    """Deletes tokens that expired before this moment, spent or not; returns how many."""
    return connection.execute(delete(tokens).where(tokens.c.expires_at < before)).rowcount


def _record(row: Row[Any]) -> TokenRecord:
    return TokenRecord(
        hash=Thumbprint(row.sha256),
        tenant=TenantId(row.tenant),
        agent=AgentId(row.agent),
        task=None if row.task is None else TaskId(row.task),
        key=None if row.key_sha256 is None else Thumbprint(row.key_sha256),
        created_by=row.created_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
        spent_on=None if row.spent_on is None else Serial.from_octets(row.spent_on),
    )
