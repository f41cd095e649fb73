"""Rows that a database may have lost though it had committed them: which it lacks, and how they are stored again.

PostgreSQL alone. None of these rows is ever deleted while it matters, nor what is set in one unset, but
for a hold, whose release says of it that it was there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from cryptography import x509
from sqlalchemy import Column, ColumnElement, Connection, Table, and_, select, tuple_, update
from sqlalchemy.dialects import postgresql

from ca.identifiers import Serial
from ca.pki import crl
from ca.pki.crl import SERIAL_OCTETS
from ca.store import audit, revocations
from ca.store.audit import Entry
from ca.store.filters import HOLD
from ca.store.notes import Note, Row
from ca.store.revocations import PACKED_ROW, Act
from ca.store.tables import (
    blocked_keys,
    certificates,
    enrollment_tokens,
    idempotency_keys,
    releases,
    spent_proofs,
    tasks,
)
from ca.store.tables import revocations as revoked


class _Way(Protocol):
    """How rows of one kind are looked for and stored again."""

    def missing(self, connection: Connection, rows: Sequence[Row], now: datetime) -> list[Row]: ...
    def put(self, connection: Connection, row: Row) -> bool: ...


@dataclass(frozen=True, slots=True)
class _Plain:
    """Rows of a table: inserted, or where `column` is given, written into a row that has null there.

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


class _Revoked:
    """Revocations and holds: of each act the rows, packed. A hold may have been released since.

    They stand without their certificates, which another host's journal may be yet to put back.
    """

    def missing(self, connection: Connection, rows: Sequence[Row], _now: datetime) -> list[Row]:
        """Of each act those that are not revoked, or only held where they were revoked for good."""
        lacking = [{**row, "rows": b"".join(_lacking(connection, row))} for row in rows]
        return [row for row in lacking if row["rows"]]

    def put(self, connection: Connection, row: Row) -> bool:
        """Revoked again, from the same moment, with a revision of today: who makes lists sees it."""
        act = revocations.begin(connection, row["issuer"], row["revoked_at"], x509.ReasonFlags(row["reason"]))
        query = postgresql.insert(revoked).values([_revoked(act, packed) for packed in _packed(row)])
        changed = {name: query.excluded[name] for name in ("revoked_at", "reason", "revision", "entry")}
        for_good = and_(revoked.c.reason == HOLD, query.excluded.reason != HOLD)
        query = query.on_conflict_do_update(
            index_elements=[revoked.c.issuer, revoked.c.serial], set_=changed, where=for_good
        )
        connection.execute(query)
        return revocations.count(connection, revocations.done_by(act)) > 0


class _Released:
    """Releases of holds."""

    def missing(self, connection: Connection, rows: Sequence[Row], _now: datetime) -> list[Row]:
        """Those that the database does not know of."""
        return [row for row in rows if not _exists(connection, releases, row)]

    def put(self, connection: Connection, row: Row) -> bool:
        """Whether the hold was still there; one that began later is not taken for it."""
        if not _exists(connection, revoked, row):
            return False
        act = revocations.begin(connection, row["issuer"], row["released_at"], x509.ReasonFlags.remove_from_crl)
        return revocations.release(connection, act, Serial.from_octets(row["serial"]))


# In the order in which they are stored again: a signature needs its intent.
_WAYS: dict[str, _Way] = {
    "spend": _Plain(enrollment_tokens, ("sha256",), enrollment_tokens.c.spent_on),
    "prove": _Plain(spent_proofs, ("sha256",), lapses=True),
    "intend": _Plain(certificates, ("issuer", "serial")),
    "record": _Plain(certificates, ("issuer", "serial"), certificates.c.x5t),
    "answer": _Plain(idempotency_keys, ("sha256",), lapses=True),
    "revoke": _Revoked(),
    "release": _Released(),
    "block": _Plain(blocked_keys, ("key_sha256",)),
    "end": _Plain(tasks, ("tenant", "id"), tasks.c.ended_at),
}

_TURNS = {what: turn for turn, what in enumerate(_WAYS)} | {"release": list(_WAYS).index("revoke")}


def missing(connection: Connection, notes: Sequence[Note], now: datetime) -> list[Note]:
    """Those of which the database knows nothing."""
    return [(what, row) for what, way in _WAYS.items() for row in way.missing(connection, _of(notes, what), now)]


def put_back(connection: Connection, notes: Sequence[Note], now: datetime) -> int:
    """Stores what is missing again, each with its audit entries; how many notes that were."""
    put = [(what, row) for what, row in sorted(notes, key=_turn) if _WAYS[what].put(connection, row)]
    audit.append(connection, *[entry for what, row in put for entry in _entries(what, row, now)])
    return len(put)


def _of(notes: Iterable[Note], what: str) -> list[Row]:
    return [row for each, row in notes if each == what]


def _turn(note: Note) -> tuple[int, float, int]:
    """Revocations, holds and releases in the order of their moments: what was released may be held again."""
    what, row = note
    if what == "release":
        # In one second it comes before the next hold, and after its own.
        is_of_before = row["revoked_at"] < row["released_at"].replace(microsecond=0)
        return _TURNS[what], row["released_at"].timestamp(), 0 if is_of_before else 2
    return _TURNS[what], row["revoked_at"].timestamp() if what == "revoke" else 0, 1


def _packed(row: Row) -> list[bytes]:
    if "rows" not in row:  # of the version before this one, which noted each by itself
        return [PACKED_ROW.pack(row["serial"], row["crl_shard"], int(row["expires_at"].timestamp()))]
    return [row["rows"][start : start + PACKED_ROW.size] for start in range(0, len(row["rows"]), PACKED_ROW.size)]


def _revoked(act: Act, packed: bytes) -> dict[str, Any]:
    serial, shard, end = PACKED_ROW.unpack(packed)
    return {
        "issuer": act.issuer,
        "serial": serial,
        "crl_shard": shard,
        "revoked_at": act.at,
        "reason": act.reason.value,
        "expires_at": datetime.fromtimestamp(end, UTC),
        "revision": act.revision,
        "entry": crl.entry(Serial.from_octets(serial), act.at, act.reason),
    }


def _lacking(connection: Connection, row: Row) -> list[bytes]:
    """The rows of an act that the database does not have as this act left them, or as a later one did."""
    rows = {packed[:SERIAL_OCTETS]: packed for packed in _packed(row)}
    standing: ColumnElement[bool] = revoked.c.reason != HOLD
    if row["reason"] == HOLD:
        standing |= revoked.c.revoked_at >= row["revoked_at"]
    query = select(revoked.c.serial).where(revoked.c.issuer == row["issuer"], revoked.c.serial.in_(rows), standing)
    there = {bytes(found.serial) for found in connection.execute(query)}
    if row["reason"] == HOLD:
        gone = select(releases.c.serial).where(
            releases.c.issuer == row["issuer"],
            releases.c.serial.in_(rows),
            releases.c.revoked_at == row["revoked_at"],
        )
        there |= {bytes(found.serial) for found in connection.execute(gone)}
    return [packed for serial, packed in rows.items() if serial not in there]


def _exists(connection: Connection, table: Table, row: Row) -> bool:
    keys = ("issuer", "serial", "revoked_at")
    return (
        connection.execute(select(table.c.serial).where(*[table.c[key] == row[key] for key in keys])).first()
        is not None
    )


def _entries(what: str, row: Row, now: datetime) -> Iterable[Entry]:
    """One for each row; for a revocation of many, one for each certificate."""
    serials = [row.get("serial") or row.get("spent_on")]
    if what == "revoke":
        serials = [packed[:SERIAL_OCTETS] for packed in _packed(row)]
    for serial in serials:
        yield Entry(
            at=now,
            actor="authority",
            action="database.restore",
            decision="granted",
            tenant=row.get("tenant"),
            task=row["id"] if what == "end" else row.get("task"),
            serial=serial.hex() if serial else None,
            detail={"what": what},
        )
