"""TLS with a key that is in memory: Python's `ssl` reads keys from files alone, and the key must not stay in one."""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from remit.forking import after_fork

Verify = bool | str | Path | bytes
"""How servers are verified: True by the system's trust, a file of PEM or PEM itself by the roots in that alone."""


class LiveContext(ssl.SSLContext):
    """A client's context whose chain changes while it is in use.

    OpenSSL takes a new certificate and then its key, and guards neither: a connection that another thread makes
    meanwhile presents nothing, or takes the process down. So connections are made and the context changed one after
    the other. Handshakes, which take round trips, happen outside of that.
    """

    _guard: threading.Lock
    _by_system: bool

    @classmethod
    def verifying(cls, verify: Verify) -> LiveContext:
        """Servers are verified by name and chain in any case; the system's trust is still to be loaded, by `trust`.

        Raises `ssl.SSLError`, `OSError`, `ValueError`.
        """
        if verify is False:
            raise ValueError("A server that is not verified could be anybody; give the roots that it is verified by.")
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        context._guard = threading.Lock()
        after_fork(context)
        context._by_system = verify is True
        if isinstance(verify, bytes):
            context.load_verify_locations(cadata=verify.decode())
        elif not isinstance(verify, bool):
            context.load_verify_locations(cafile=verify)
        return context

    def go_on_in_child(self) -> None:
        """After a fork: whoever held the guard is not here."""
        self._guard = threading.Lock()

    def trust(self) -> None:
        """Loads the system's trust where that is wanted, which takes longer than a certificate takes to be had."""
        if self._by_system:
            self.load_default_certs(ssl.Purpose.SERVER_AUTH)

    def present(self, key: bytes, chain: bytes) -> None:
        """As the function below."""
        with self._guard:
            present(self, key, chain)

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        """As of any context; HTTP clients do so with each connection."""
        with self._guard:
            super().set_alpn_protocols(alpn_protocols)

    def wrap_socket(
        self,
        sock: socket.socket,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = True,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLSocket:
        """As of any context."""
        with self._guard:
            wrapped: Any = super().wrap_socket(sock, server_side, False, suppress_ragged_eofs, server_hostname, session)
        wrapped.do_handshake_on_connect = do_handshake_on_connect
        if do_handshake_on_connect and _is_connected(wrapped):
            _handshake(wrapped)
        return wrapped  # type: ignore[no-any-return]

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """As of any context; the handshake comes later."""
        with self._guard:
            return super().wrap_bio(*args, **options)


def _is_connected(connection: ssl.SSLSocket) -> bool:
    try:
        connection.getpeername()
    except OSError:
        return False
    return True


def _handshake(connection: ssl.SSLSocket) -> None:
    try:
        connection.do_handshake()
    except BaseException:
        connection.close()
        raise


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
