"""`/live` and `/ready`, over plain HTTP, for whoever decides whether this process is well."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_SILENT_SECONDS = 10

Answer = tuple[bool, str]


def serve(host: str, port: int, probes: dict[str, Callable[[], Answer]]) -> ThreadingHTTPServer:
    """Answers each path by its probe: 200 or 503, with its sentence, until `shutdown`. Raises `OSError`."""

    class Handler(BaseHTTPRequestHandler):
        """These paths, nothing else."""

        timeout = _SILENT_SECONDS

        def do_GET(self) -> None:
            """Asks the probe."""
            probe = probes.get(self.path)
            if probe is None:
                self._tell(HTTPStatus.NOT_FOUND, f"There are {' and '.join(probes)} here.")
                return
            is_well, sentence = probe()
            self._tell(HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE, sentence)

        def log_message(self, *_: object) -> None:
            """Probes are not news."""

        def _tell(self, status: HTTPStatus, sentence: str) -> None:
            body = f"{sentence}\n".encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer((host, port), Handler)
    threading.Thread(target=server.serve_forever, name="probes", daemon=True).start()
    return server
