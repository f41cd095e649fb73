"""What stands behind a gateway: a server that answers with the request as it came, and counts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class Backend(ThreadingHTTPServer):
    """`/status/N` answers with the status N, everything else with 200."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.served = 0

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A proxy may hang up on a connection that it kept."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    @property
    def port(self) -> int:
        return self.server_address[1]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Backend

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        self.server.served += 1
        fields = [(name.lower(), value) for name, value in self.headers.items()]
        answer = json.dumps({"path": self.path, "fields": fields, "octets": len(body)}).encode()
        status = int(self.path.rpartition("/")[2]) if self.path.startswith("/status/") else 200
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET  # noqa: N815 (as http.server wants it)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running() -> Iterator[Backend]:
    with Backend() as backend:
        Thread(target=backend.serve_forever, daemon=True).start()
        yield backend
        backend.shutdown()
