"""A wire between a client and a server that counts connections, and can be cut or lose answers."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

_CHUNK = 65536
_ANSWERED = 1500
"""Octets of a second flight by which a server has answered, and not merely given session tickets."""


class Relay:
    """Listens on loopback and passes octets on. `cut` refuses connections, `losing` swallows answers."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        self._server = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        self.lost = 0
        self.losing = 0
        self.cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                if self.cut:
                    client.close()
                    continue
                loses = self.losing > 0
                self.losing -= loses
                threading.Thread(target=self._pass, args=(client, loses), daemon=True).start()

    def _pass(self, client: socket.socket, loses: bool) -> None:
        """Of a losing one the server's first flight passes, and of what follows nothing."""
        with client, socket.create_connection(self._server) as server, suppress(OSError):
            flights = kept_back = 0
            while True:
                for one in select.select([client, server], [], [])[0]:
                    if not (octets := one.recv(_CHUNK)):
                        return
                    if one is client:
                        flights += 1
                        server.sendall(octets)
                    elif loses and flights > 1:
                        kept_back += len(octets)
                        if kept_back > _ANSWERED:
                            self.lost += 1
                            return
                    else:
                        client.sendall(octets)


@contextmanager
def relayed(url: str) -> Iterator[Relay]:
    relay = Relay(url)
    try:
        yield relay
    finally:
        relay.close()
