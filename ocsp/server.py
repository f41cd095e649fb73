"""`python -m ocsp.server`: the status service as a process, alone on a machine if need be.

It needs the database (reading is enough) and a token with the responder's key; the CA's keys it
neither needs nor uses. Exit status: 0 stopped, 1 it cannot start, with one sentence.
"""

from __future__ import annotations

import signal
import socket
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import uvicorn

from ca import listening, logs
from ca.config import Misconfigured, Settings
from ca.hsm import Signer, TokenFault
from ca.hsm.owner import Owner
from ca.sections import split_listener
from ca.store.status import StatusReader
from ca.store.watch import Watcher
from ocsp.app import App
from ocsp.cache import Cache
from ocsp.meter import Meter
from ocsp.metrics import Metrics
from ocsp.probes import Probes
from ocsp.publications import Publications
from ocsp.responder import Responder, Terms
from ocsp.view import View
from ocsp.wire import Wire, spoken
from softhsm.configuration import use

_KEPT_OCTETS = 64 << 20
_UNKEPT_PER_SECOND = 500.0
_UNKEPT_AT_ONCE = 1000.0


def main() -> int:
    """Serves until SIGTERM or SIGINT; returns the exit status."""
    logs.to_standard_error()
    listening.allow_descriptors()
    try:
        settings = Settings.load()
        with closing(_open_token(settings)) as owner:
            _run(settings, owner)
    except (Misconfigured, TokenFault) as error:
        # The token is not tried again: with a wrong PIN each attempt counts towards locking it.
        sys.stderr.write(f"remit: {error}\n")
        return 1
    return 0


def _run(settings: Settings, owner: Owner) -> None:
    url = settings.database_url
    with closing(View(StatusReader(url), Watcher(url), owner.adopt, now)) as view:
        app, wire = application(settings, view, owner)
        serve(app, spoken(wire), _bound(settings))


def now() -> datetime:
    """The wall clock, UTC. It enters here."""
    return datetime.fromtimestamp(time.time(), UTC)


def application(settings: Settings, view: View, signer: Signer) -> tuple[App, Wire]:
    """The ASGI application upon a view of the database and a signer, and what needs not reach it."""
    cache, metrics = Cache(_KEPT_OCTETS), Metrics()
    responder = Responder(
        view=view,
        cache=cache,
        signer=signer,
        terms=Terms(settings.status.ocsp_validity, settings.status.ocsp_unissued == "revoked"),
        meter=Meter(_UNKEPT_PER_SECOND, _UNKEPT_AT_ONCE, time.monotonic),
        metrics=metrics,
        clock=now,
    )
    app = App(
        view=view,
        cache=cache,
        responder=responder,
        publications=Publications(view, settings.status.ocsp_validity, now),
        metrics=metrics,
        probes=Probes(view, metrics, signer.health, now),
        clock=now,
    )
    return app, Wire(view, cache, metrics, now)


def _open_token(settings: Settings) -> Owner:
    use(settings.module, settings.softhsm_directory)
    owner = Owner(
        settings.module,
        settings.pkcs11.token_label,
        lambda: settings.pin_file.read_text().strip(),
        settings.pkcs11.sessions,
    )
    owner.start()
    return owner


def _bound(settings: Settings) -> socket.socket:
    try:
        return listening.listener(*split_listener(settings.status_listen))
    except OSError as error:
        raise Misconfigured(f"It cannot listen on {settings.status_listen} ({error.strerror}).") from error


def serve(app: Any, protocol: type[listening.PatientProtocol], bound: socket.socket) -> None:
    """Serves an ASGI application on this socket until SIGTERM or SIGINT."""
    server = listening.PatientServer(
        uvicorn.Config(
            app,
            http=protocol,
            loop="uvloop",
            ws="none",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=5,
        )
    )
    # The server hands a signal on once it has stopped; what remains to be closed is ours.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server.run([bound])


if __name__ == "__main__":
    sys.exit(main())
