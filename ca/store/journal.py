"""What was committed lately, beside the database: for the day on which a standby is promoted that had not got it all.

PostgreSQL that replicates asynchronously can lose commits that were answered, and says nothing of it. So
whatever must not be lost is noted in its own transaction, and written to a file of this host once the
commit returned, before a key is used on it. A promotion begins a new timeline: the first transaction on
one puts back all that the files have and the database has not, before it does anything else.

The files outlive the process, not the host (no fsync: the database has one). They are kept two hours,
longer than an agent's certificate lives.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from io import FileIO
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql

from ca.store import bulk
from ca.store.tables import blocked_keys, certificates, enrollment_tokens, idempotency_keys, revocations

_NOTES = "remit.journal"
_LARGEST = 64 * 1024 * 1024  # octets of one file
_KEPT = 7200.0  # seconds
_AT_ONCE = 500

Row = Mapping[str, Any]
Note = tuple[str, Row]
"""What was stored, as `_AGAIN` names it, and a row of it."""
_log = structlog.get_logger("remit.journal")


def note(connection: Connection, what: str, rows: Sequence[Row]) -> None:
    """These rows are about to be stored; it is written once they are. `what` is a key of `_AGAIN`."""
    if rows and connection.dialect.name == "postgresql":
        connection.info.setdefault(_NOTES, []).extend((what, row) for row in rows)


def forget_notes(connection: Connection) -> list[Note]:
    """What was noted since the last time: of an act that was undone it is dropped."""
    found: list[Note] = connection.info.pop(_NOTES, [])
    return found


class Journal:
    """The files of one process in `directory`, which all processes of one home share."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._timeline = directory / "timeline"
        self._file: FileIO | None = None

    def catch_up(self, connection: Connection) -> Callable[[], None] | None:
        """At the start of every transaction: on a new timeline, puts back what the database lacks.

        What is then returned is called once the transaction is committed, and notes that it is done.
        """
        timeline = connection.exec_driver_sql("SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)").scalar_one()
        if self._known() == timeline:
            return None
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        files = sorted(self._directory.glob("*.jsonl"))
        restored = sum(_restore(connection, _lines(file)) for file in files)
        if restored:
            _log.critical("database_restored", rows=restored, timeline=timeline)
        return lambda: self._know(timeline)

    def write(self, notes: Iterable[Note]) -> None:
        """After the commit, before anybody is told of it."""
        text = "".join(json.dumps([what, row], default=_encoded) + "\n" for what, row in notes)
        if not text:
            return
        if self._file is None or self._file.tell() > _LARGEST:
            self._begin()
        assert self._file is not None  # noqa: S101 (begun in the line before)
        self._file.write(text.encode())

    def close(self) -> None:
        """Ends the file; it is kept."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self) -> None:
        self.close()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in self._directory.glob("*.jsonl"):
            if time.time() - old.stat().st_mtime > _KEPT:
                old.unlink(missing_ok=True)
        name = self._directory / f"{time.time_ns():020}-{secrets.token_hex(4)}.jsonl"
        self._file = FileIO(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600), "a")

    def _known(self) -> str | None:
        try:
            return self._timeline.read_text()
        except FileNotFoundError:
            return None

    def _know(self, timeline: str) -> None:
        draft = self._timeline.with_suffix(f".{os.getpid()}")
        draft.write_text(timeline)
        draft.replace(self._timeline)


class NoJournal(Journal):
    """For a database that cannot lose a commit, as one file on this host."""

    def __init__(self) -> None:
        super().__init__(Path(os.devnull))

    def catch_up(self, connection: Connection) -> None:
        """There is nothing to put back."""

    def write(self, notes: Iterable[Note]) -> None:
        """Nothing is noted."""


def _lines(file: Path) -> list[Note]:
    """Whole lines alone: of one that a crash cut short nobody was told."""
    text = file.read_bytes()
    return [
        (what, {name: _decoded(value) for name, value in row.items()})
        for what, row in map(json.loads, text[: text.rfind(b"\n") + 1].splitlines())
    ]


def _restore(connection: Connection, lines: list[Note]) -> int:
    """How many rows were missing. In the order of the steps, whichever came first in the file."""
    changed = 0
    for what, again in _AGAIN.items():
        rows = [row for each, row in lines if each == what]
        for start in range(0, len(rows), _AT_ONCE):
            changed += again(connection, rows[start : start + _AT_ONCE])
    return changed


def _missing(table: Any) -> Callable[[Connection, Sequence[Row]], int]:
    def insert(connection: Connection, rows: Sequence[Row]) -> int:
        statement = postgresql.insert(table).on_conflict_do_nothing()
        with_count = statement.execution_options(preserve_rowcount=True)
        return sum(connection.execute(with_count, dict(row)).rowcount for row in rows)

    return insert


def _unset(table: Any, keys: tuple[str, ...], only: str) -> Callable[[Connection, Sequence[Row]], int]:
    def update(connection: Connection, rows: Sequence[Row]) -> int:
        return bulk.update_all(connection, table, keys, rows, only)

    return update


_AGAIN: dict[str, Callable[[Connection, Sequence[Row]], int]] = {
    "spend": _unset(enrollment_tokens, ("sha256",), "enrollment_tokens.spent_on IS NULL"),
    "intend": _missing(certificates),
    "record": _unset(certificates, ("issuer", "serial"), "certificates.x5t IS NULL"),
    "answer": _missing(idempotency_keys),
    "revoke": _missing(revocations),
    "block": _missing(blocked_keys),
}


def _encoded(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"b": b64encode(value).decode()}
    if isinstance(value, datetime):
        return {"t": value.isoformat()}
    raise TypeError(f"a row of the journal has a {type(value).__name__}")


def _decoded(value: Any) -> Any:
    match value:
        case {"b": str(text)}:
            return b64decode(text)
        case {"t": str(text)}:
            return datetime.fromisoformat(text)
    return value
