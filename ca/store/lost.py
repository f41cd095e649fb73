"""Rows that a database may have lost though it had committed them: which it lacks, and how they are stored again.

PostgreSQL alone. None of these rows is ever deleted while it matters, nor what is set in one unset.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Table, select, tuple_, update
from sqlalchemy.dialects import postgresql

from ca.store import audit
from ca.store.audit import Entry
from ca.store.tables import blocked_keys, certificates, enrollment_tokens, idempotency_keys, revocations, tasks

Row = Mapping[str, Any]
Note = tuple[str, Row]
"""What was stored, a key of `_WAYS`, and a row of it."""


@dataclass(frozen=True, slots=True)
class _Way:
    """Where rows of one kind lie: inserted, or where `column` is given, written into a row that has null there.

    What `lapses` is deleted once its `expires_at` is past.
    """

    table: Table
    keys: tuple[str, ...]
    column: Column[Any] | None = None
    lapses: bool = False

    def missing(self, connection: Connection, rows: Sequence[Row], now: datetime) -> list[Row]:
        """Those that the database has not."""
        if not rows:
            return []
        columns = [self.table.c[key] for key in self.keys]
        query = select(*columns).where(tuple_(*columns).in_([self._key(row) for row in rows]))
        if self.column is not None:
            query = query.where(self.column.is_not(None))
        there = {tuple(found) for found in connection.execute(query)}
        absent = [row for row in rows if self._key(row) not in there]
        return [row for row in absent if row["expires_at"] >= now] if self.lapses else absent

    def put(self, connection: Connection, row: Row) -> bool:
        """Whether it was stored now."""
        if self.column is None:
            statement = postgresql.insert(self.table).values(**row).on_conflict_do_nothing()
            # Without the option PostgreSQL's count is not kept for an INSERT.
            return connection.execute(statement.execution_options(preserve_rowcount=True)).rowcount == 1
        found = [self.table.c[key] == row[key] for key in self.keys]
        return connection.execute(update(self.table).where(*found, self.column.is_(None)).values(**row)).rowcount == 1

    def _key(self, row: Row) -> tuple[Any, ...]:
        return tuple(row[key] for key in self.keys)


# In the order in which they are stored again: a signature needs its intent.
_WAYS = {
    "spend": _Way(enrollment_tokens, ("sha256",), enrollment_tokens.c.spent_on),
    "intend": _Way(certificates, ("issuer", "serial")),
    "record": _Way(certificates, ("issuer", "serial"), certificates.c.x5t),
    "answer": _Way(idempotency_keys, ("sha256",), lapses=True),
    "revoke": _Way(revocations, ("issuer", "serial")),
    "block": _Way(blocked_keys, ("key_sha256",)),
    "end": _Way(tasks, ("tenant", "id"), tasks.c.ended_at),
}


def missing(connection: Connection, notes: Sequence[Note], now: datetime) -> list[Note]:
    """Those of which the database knows nothing."""
    return [(what, row) for what, way in _WAYS.items() for row in way.missing(connection, _of(notes, what), now)]


def put_back(connection: Connection, notes: Sequence[Note], now: datetime) -> int:
    """Stores what is missing again, each with an audit entry; how many rows that were."""
    put = [(what, row) for what, way in _WAYS.items() for row in _of(notes, what) if way.put(connection, row)]
    audit.append(connection, *[_entry(what, row, now) for what, row in put])
    return len(put)


def _of(notes: Iterable[Note], what: str) -> list[Row]:
    return [row for each, row in notes if each == what]


def _entry(what: str, row: Row, now: datetime) -> Entry:
    serial = row.get("serial") or row.get("spent_on")
    return Entry(
        at=now,
        actor="authority",
        action="database.restore",
        decision="granted",
        tenant=row.get("tenant"),
        task=row["id"] if what == "end" else row.get("task"),
        serial=serial and serial.hex(),
        detail={"what": what},
    )
