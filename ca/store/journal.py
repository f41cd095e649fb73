"""What was committed lately, beside the database: for the day on which the database has lost the last commits.

PostgreSQL that replicates asynchronously can lose commits that were answered, and says nothing of it. So
whatever must not be lost is noted in its own transaction, and written to a file of this host once the
commit returned, before a key is used on it. The first transaction of a connection, and the first on a new
timeline (a promotion, behind a pooler), puts back what the files have and the database has not, before it
does anything else.

The files outlive the process, not the host (no fsync: the database has one).
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from errno import ENOSPC
from io import FileIO
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection, select

from ca.store import lost
from ca.store.notes import Note
from ca.store.tables import issuers

_SEEN = "remit.journal.timeline"
_TIMELINE = "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)"
_ROOT = select(issuers.c.certificate).order_by(issuers.c.created_at, issuers.c.id.desc()).limit(1)
_LARGEST = 64 * 1024 * 1024  # octets of one file
_ALL = 2 * 1024 * 1024 * 1024  # octets of all, at most
_KEPT = 7200.0  # seconds, at most: longer than an agent's certificate lives
_STRETCH = 500

_log = structlog.get_logger("remit.journal")


class Journal:
    """The files of one process in `directory`, which all processes of one home share.

    Each authority, by its root, has a place of its own there: what one noted is never put into another's database.
    """

    def __init__(self, directory: Path, clock: Callable[[], datetime]) -> None:
        self._directory, self._clock = directory, clock
        self._process = f"{time.time_ns():020}-{secrets.token_hex(4)}"
        self._begun = 0
        self._file: FileIO | None = None
        self._place = directory

    def catch_up(self, connection: Connection) -> Callable[[], None] | None:
        """At the start of every transaction: on a new connection or timeline, puts back what the database lacks.

        What is then returned is called once the transaction is committed, and notes that it is done.
        """
        timeline, seen = connection.exec_driver_sql(_TIMELINE).scalar_one(), connection.info
        if seen.get(_SEEN) == timeline:
            return None
        root = connection.execute(_ROOT).scalar() or b""
        self._place = self._directory / hashlib.sha256(root).hexdigest()[:16]
        now = self._clock()
        tail = [one for files in _processes(self._place) for one in _lost_of(connection, files, now)]
        restored = lost.put_back(connection, tail, now)
        if restored:
            _log.critical("database_restored", rows=restored, timeline=timeline)
        return lambda: seen.update({_SEEN: timeline})

    def write(self, notes: Iterable[Note]) -> None:
        """After the commit, before anybody is told of it. Raises `OSError`: then some of it may be there."""
        text = "".join(json.dumps([what, row], default=_encoded) + "\n" for what, row in notes).encode()
        if not text:
            return
        file = self._file if self._file is not None and self._file.tell() <= _LARGEST else self._begin()
        try:
            _write_whole(file, text)
        except OSError:
            # Nothing may follow the half of a line.
            self.close()
            raise

    def close(self) -> None:
        """Ends the file; it is kept."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self) -> FileIO:
        self.close()
        self._place.mkdir(mode=0o700, parents=True, exist_ok=True)
        _put_away(self._place)
        name = self._place / f"{self._process}-{self._begun:06}.jsonl"
        self._file = FileIO(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600), "a")
        self._begun += 1
        return self._file


class NoJournal(Journal):
    """For a database that cannot lose a commit, as one file on this host."""

    def __init__(self) -> None:
        """Nothing is opened."""

    def catch_up(self, connection: Connection) -> None:
        """There is nothing to put back."""

    def write(self, notes: Iterable[Note]) -> None:
        """Nothing is noted."""

    def close(self) -> None:
        """Nothing is open."""


def _processes(place: Path) -> Iterator[list[Path]]:
    """The files of each process, its newest first."""
    found: dict[str, list[Path]] = defaultdict(list)
    for file in sorted(place.glob("*.jsonl"), reverse=True):
        found[file.name.rpartition("-")[0]].append(file)
    yield from found.values()


def _lost_of(connection: Connection, files: Sequence[Path], now: datetime) -> list[Note]:
    """What the database lacks of one process's notes, which are in the order of its commits.

    A database loses its last commits alone: nothing is missing before a stretch that is all there.
    """
    found: list[Note] = []
    for notes in (stretch for file in files for stretch in _backwards(file)):
        missing = lost.missing(connection, notes, now)
        if notes and not missing:
            break
        found += missing
    return found


def _backwards(file: Path) -> Iterator[list[Note]]:
    """Stretches of notes, the last first. Whole lines alone: of one that a crash cut short nobody was told."""
    text = file.read_bytes()
    lines = text[: text.rfind(b"\n") + 1].splitlines()
    for end in range(len(lines), 0, -_STRETCH):
        yield [one for line in lines[max(0, end - _STRETCH) : end] if (one := _read(file, line)) is not None]


def _read(file: Path, line: bytes) -> Note | None:
    try:
        what, row = json.loads(line)
    except ValueError:  # the host itself went down, which a file need not outlive
        _log.critical("journal_damaged", file=file.name)
        return None
    return what, {name: _decoded(value) for name, value in row.items()}


def _write_whole(file: FileIO, text: bytes) -> None:
    if file.write(text) != len(text):
        raise OSError(ENOSPC, os.strerror(ENOSPC))


def _put_away(place: Path) -> None:
    """Removes what is too old, and the oldest of what is too much."""
    total, now = 0, time.time()
    stats = sorted(((file.stat(), file) for file in place.glob("*.jsonl")), key=lambda one: -one[0].st_mtime)
    for stat, file in stats:
        total += stat.st_size
        if now - stat.st_mtime > _KEPT or total > _ALL:
            file.unlink(missing_ok=True)


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
