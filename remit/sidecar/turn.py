"""One watcher a directory: two would renew one another's certificates."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from remit.failed import Failed


@contextmanager
def taken(directory: Path) -> Iterator[None]:
    """Holds the directory, which is made where it is not there; the kernel gives it back however we end.

    Raises `Failed` where another watcher has it.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failed(f"Another 'remit enroll --watch' keeps {directory}.") from None
        yield
    finally:
        os.close(descriptor)
