"""One-time enrolment tokens: only their hashes are here, and each is spent at most once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from ca.identifiers import AgentId, Serial, TaskId, TenantId, Thumbprint
from ca.store.tables import enrollment_tokens as tokens

_FIND = select(tokens).where(tokens.c.sha256 == bindparam("hash"))
_SPEND = (
    update(tokens)
    .where(tokens.c.sha256 == bindparam("hash"), tokens.c.spent_on.is_(None))
    .values(spent_on=bindparam("serial"), spent_at=bindparam("now"))
)


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


def find(connection: Connection, token: Thumbprint) -> TokenRecord | None:
    """The token of this hash, spent or not, or None."""
    row = connection.execute(_FIND, {"hash": token.digest}).one_or_none()
    if row is None:
        return None
    return TokenRecord(
        hash=token,
        tenant=TenantId(row.tenant),
        agent=AgentId(row.agent),
        task=None if row.task is None else TaskId(row.task),
        key=None if row.key_sha256 is None else Thumbprint(row.key_sha256),
        created_by=row.created_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
        spent_on=None if row.spent_on is None else Serial.from_octets(row.spent_on),
    )


def spend(connection: Connection, token: Thumbprint, serial: Serial, now: datetime) -> bool:
    """Compare-and-set: True for exactly one caller, whoever else tries, on whichever replica."""
    return connection.execute(_SPEND, {"hash": token.digest, "serial": serial.octets, "now": now}).rowcount == 1


def forget(connection: Connection, before: datetime) -> int:
    """Deletes tokens that expired before this moment, spent or not; returns how many."""
    return connection.execute(delete(tokens).where(tokens.c.expires_at < before)).rowcount
