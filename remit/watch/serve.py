"""`/metrics` and `/healthz` of a watchman that goes on, for Prometheus and for probes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from remit.watch.finding import State
from remit.watch.look import Look
from remit.watch.report import as_json, exposition

_SILENT_SECONDS = 10
_ROUNDS_MISSED = 3


class Board:
    """The last look, and whether it is recent: a watchman that hangs must not say that all is well."""

    def __init__(self, every: timedelta, clock: Callable[[], datetime]) -> None:
        self._longest = every * _ROUNDS_MISSED + timedelta(minutes=1)
        self._clock = clock
        self.look: Look | None = None

    def health(self) -> tuple[HTTPStatus, str]:
        """200 when the last look is recent and found all fresh; else 503, with what it found."""
        look = self.look
        if look is None:
            return HTTPStatus.SERVICE_UNAVAILABLE, json.dumps({"state": "critical", "detail": "No look is over yet."})
        recent = self._clock() - look.at <= self._longest
        well = recent and look.state is State.FRESH
        body = as_json(look) if recent else {**as_json(look), "state": "critical", "detail": "The last look is old."}
        return HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE, json.dumps(body)


def serve(board: Board, host: str, port: int) -> ThreadingHTTPServer:
    """Answers in threads of its own until `shutdown`. Raises `OSError` when the port is taken."""

    class Handler(BaseHTTPRequestHandler):
        """Two paths, nothing else."""

        timeout = _SILENT_SECONDS

        def do_GET(self) -> None:
            """Tells what the board says now."""
            if self.path == "/metrics":
                text = exposition(board.look) if board.look else ""
                self._tell(HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8", text)
            elif self.path == "/healthz":
                status, text = board.health()
                self._tell(status, "application/json", text)
            else:
                self._tell(HTTPStatus.NOT_FOUND, "text/plain", "There are /metrics and /healthz here.\n")

        def log_message(self, *_: object) -> None:
            """Probes are not news."""

        def _tell(self, status: HTTPStatus, media_type: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer((host, port), Handler)
    threading.Thread(target=server.serve_forever, name="watch-metrics", daemon=True).start()
    return server
