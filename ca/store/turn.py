"""Whose turn it is to write a database that several processes of one machine write.

SQLite has one writer at a time, and who finds another at it sleeps and looks again, up to a tenth of a
second too long. So the processes queue at a lock of the kernel's, which wakes the next at once and
which a process that dies gives up. SQLite's own lock still holds against whoever does not queue.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url


class Turn:
    """The turn at one database; `file` is the lock's, None where several may write at once."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._descriptor: int | None = None

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Waits for it. Raises `OSError` when the lock's file cannot be had."""
        if self._file is None:
            yield
            return
        if self._descriptor is None:
            self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Once the last turn is over."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def turn_of(url: str) -> Turn:
    """The turn at the database of this SQLAlchemy URL: of a SQLite file it is kept beside it, as `<file>-turn`."""
    parsed = make_url(url)
    on_disk = parsed.get_backend_name() == "sqlite" and parsed.database not in {None, "", ":memory:"}
    return Turn(Path(f"{parsed.database}-turn") if on_disk else None)
