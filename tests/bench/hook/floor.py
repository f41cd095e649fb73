"""The floor: what the server and TLS cost without the hook. It answers every question with the same octets.

python -m tests.bench.hook.floor PORT CERTIFICATE KEY FILE     FILE is JSON: headers, body in base64
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from base64 import b64decode
from pathlib import Path

import uvicorn
import uvloop

from ca import listening
from ca.web.peer import PeerProtocol
from tests.bench.revocation.floor import Floor


def main() -> int:
    """Serves until SIGTERM, as `ca.server` does."""
    port, certificate, key, said = int(sys.argv[1]), sys.argv[2], sys.argv[3], json.loads(Path(sys.argv[4]).read_text())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    config = uvicorn.Config(
        Floor(said["headers"], b64decode(said["body"])),
        http=PeerProtocol,
        ssl_context_factory=lambda *_: context,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
    )

    async def serve() -> None:
        await listening.PatientServer(config).serve([listening.listener("127.0.0.1", port)])

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
