"""The floor: what the server costs without us. It answers every OCSP request with the same octets.

The same uvicorn with the same settings as the status service, whose words it repeats, headers and
all; it reads the body of a POST, as whoever answers it must, and looks at nothing.

    python -m tests.bench.revocation.floor PORT FILE     FILE is JSON: headers, body in base64
"""

from __future__ import annotations

import json
import sys
from base64 import b64decode
from pathlib import Path

from ca.listening import PatientProtocol, listener
from ocsp import server
from ocsp.app import Message, Receive, Scope, Send


class Floor:
    """The ASGI application."""

    def __init__(self, headers: list[tuple[str, str]], body: bytes) -> None:
        encoded = [(name.lower().encode(), value.encode()) for name, value in headers]
        self._start: Message = {"type": "http.response.start", "status": 200, "headers": encoded}
        self._body: Message = {"type": "http.response.body", "body": body}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request, or the life of the server (ASGI 3)."""
        if scope["type"] == "lifespan":
            for what in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{what}.complete"})
            return
        more = scope["method"] == "POST"
        while more:
            more = (await receive()).get("more_body", False)
        await send(self._start)
        await send(self._body)


def main() -> int:
    """Serves until SIGTERM."""
    port, said = int(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    server.serve(Floor(said["headers"], b64decode(said["body"])), PatientProtocol, listener("127.0.0.1", port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
