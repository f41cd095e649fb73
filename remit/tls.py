"""TLS with a key that is in memory: Python's `ssl` reads keys from files alone, and the key must not stay in one."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def present(context: ssl.SSLContext, key: bytes, chain: bytes) -> None:
    """Has the context present this chain from now on; handshakes under way are not disturbed. PEM.

    Raises `ssl.SSLError`, `OSError`.
    """
    with _readable(key + chain) as file:
        context.load_cert_chain(file)


@contextmanager
def _readable(secret: bytes) -> Iterator[Path]:
    """A name under which this process alone can read it, for as long as it takes."""
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        with os.fdopen(os.memfd_create("remit", os.MFD_CLOEXEC), "wb", buffering=0) as memory:
            memory.write(secret)
            yield Path(f"/proc/self/fd/{memory.fileno()}")
        return
    # Elsewhere (macOS) a file of mode 0600, gone before anything else happens.
    with tempfile.NamedTemporaryFile(prefix="remit-") as file:
        file.write(secret)
        file.flush()
        yield Path(file.name)
