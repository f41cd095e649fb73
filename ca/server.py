"""`python -m ca.server`: the API over TLS, until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import structlog
import uvicorn
import uvloop
from fastapi import FastAPI

from ca import assembly, listening, logs, workers
from ca.authority import closing, hierarchy, infrastructure, issuance
from ca.authority.authority import Authority
from ca.authority.publisher import Publisher
from ca.authority.replica import Replica
from ca.authority.upkeep import Upkeep
from ca.config import Misconfigured, Settings
from ca.hook.lookups import Lookups
from ca.hsm import TokenFault
from ca.pki.certificate import Issuer
from ca.proofs.providers import Providers
from ca.refusals import Reason, Refused
from ca.sections import UNIX, split_listener
from ca.store import durability, schema
from ca.store.journal import Journal
from ca.store.transaction import Database
from ca.tls import Tls
from ca.web.app import build
from ca.web.peer import Application, PeerProtocol

_KEEP_ALIVE_SECONDS = 30
_GATEWAY_KEEP_ALIVE_SECONDS = 600
"""Longer than proxies keep an idle connection: who closes it first is the one that knows that it is idle."""

_SHUTDOWN_SECONDS = 10

_log = structlog.get_logger("remit.server")


class NotReady(Exception):  # noqa: N818 (said to a person as it is)
    """The server cannot start: one sentence with the mend."""


class Life:
    """A process until SIGTERM or SIGINT, which it hears before uvicorn does; `ready` is told once all is open."""

    def __init__(self, ready: Callable[[], object] = lambda: None) -> None:
        self._ready = ready
        self._ending = False
        self._server: uvicorn.Server | None = None
        # uvicorn hands a signal on once it has stopped; what remains to be closed is ours.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._end())

    def begins(self, server: uvicorn.Server) -> None:
        """The server is about to run: an end that was asked for before is its own."""
        self._server = server
        server.should_exit = self._ending
        self._ready()

    def _end(self) -> None:
        self._ending = True
        if self._server is not None:
            self._server.should_exit = True


async def serve(settings: Settings, life: Life) -> None:
    """Starts every part in order, serves until a signal, and stops them in the opposite order.

    Raises `NotReady`, `TokenFault`, `Refused`.
    """
    database = Database(settings.database_url, Journal(settings.home / "journal", assembly.clock))
    signer = assembly.signer(settings)
    try:
        root, issuer = _hierarchy(settings, database)
        signer.start()
        assembly.adopt(signer, root, issuer)
        replica = assembly.replica(database)
        authority = assembly.authority(settings, database, signer, root, issuer, replica.octet)
        try:
            await _run(settings, authority, replica, life)
        finally:
            authority.close()
            with suppress(Refused):  # without the database: its lease lapses
                await replica.leave()
    finally:
        signer.close()
        database.close()


async def _run(settings: Settings, authority: Authority, replica: Replica, life: Life) -> None:
    # What a failover lost is put back by the first transaction, before anything unfinished is looked for.
    await asyncio.wrap_future(authority.database.write(lambda _connection: None))
    await _recover(authority, replica)
    await replica.keep()
    publisher = assembly.publisher(authority)
    providers = assembly.providers(settings, authority.root, authority.issuer)
    await _publish(publisher)
    tls = Tls(settings, authority)
    await tls.renew()
    upkeep = Upkeep(
        authority,
        (
            replica.keep,
            lambda: _recover(authority, replica),
            tls.renew,
            lambda: infrastructure.renew_responder(authority),
        ),
    )
    app = build(authority, publisher, _lifespan(publisher, upkeep, providers), providers)
    listener = _bound(settings.listen, shared=settings.workers > 1)
    server = listening.PatientServer(_config(app, http=PeerProtocol, ssl_context_factory=lambda *_: tls.context))
    async with _gateway(settings, authority, app.lookups):
        _log.info("serving", url=settings.public_url)
        life.begins(server)
        try:
            await server.serve([listener])
        finally:
            with suppress(Refused):  # without the database: its lease lapses
                await publisher.leave()


@asynccontextmanager
async def _gateway(settings: Settings, authority: Authority, lookups: Lookups) -> AsyncIterator[None]:
    """The listener for gateways, where there is one, for as long as the API's is open."""
    at = settings.gateway.listen
    if not at:
        yield
        return
    app = assembly.gateway(settings, authority, lookups)
    listener = _bound(at, shared=settings.workers > 1)
    config = _config(
        app, http=listening.PatientProtocol, lifespan="off", timeout_keep_alive=_GATEWAY_KEEP_ALIVE_SECONDS
    )
    server = listening.SideServer(config)
    serving = asyncio.create_task(server.serve([listener]))
    _log.info("serving_gateways", listen=at)
    try:
        yield
    finally:
        server.should_exit = True
        await serving


def _bound(at: str, *, shared: bool) -> socket.socket:
    """A listener's socket. Raises `NotReady`."""
    try:
        if at.startswith(UNIX):
            return listening.local_listener(at.removeprefix(UNIX))
        return listening.listener(*split_listener(at), shared=shared)
    except OSError as error:
        raise NotReady(f"It cannot listen on {at} ({error.strerror or error}).") from error


def _config(app: Application, **more: Any) -> uvicorn.Config:
    common = {
        "ws": "none",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "timeout_keep_alive": _KEEP_ALIVE_SECONDS,
        "timeout_graceful_shutdown": _SHUTDOWN_SECONDS,
    }
    return uvicorn.Config(app, **{**common, **more})


async def _publish(publisher: Publisher) -> None:
    """A revocation may have been answered a moment before a crash: it is in the lists before anyone asks again."""
    try:
        await publisher.keep()
    except Refused as refusal:
        # An unfit list is tried again, and another replica may publish: whoever must revoke waits for neither.
        if refusal.reason not in (Reason.LINT_FAILED, Reason.CONFLICT):
            raise


async def _recover(authority: Authority, replica: Replica) -> None:
    """Finishes what replicas left that are dead: this one before its restart, or one whose lease has lapsed."""
    finished = await issuance.recover(authority, replica.living())
    if finished:
        _log.warning("recovered", serials=[str(one.intent.serial) for one in finished])


def _lifespan(*parts: Publisher | Upkeep | Providers) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        running = [asyncio.create_task(part.run()) for part in parts]
        yield
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    return lifespan


def _hierarchy(settings: Settings, database: Database) -> tuple[Issuer, Issuer]:
    with database.read() as connection:
        if not schema.is_current(connection):
            raise NotReady("The database has another schema than this version; run 'remit init' first.")
        if (weakness := durability.shortfall(connection)) is not None:
            raise NotReady(weakness)
    found = hierarchy.load(database, settings.status_url)
    if found is None:
        raise NotReady("There is no authority yet; run 'remit init' first.")
    closing.check_open(database, found[1].certificate)
    return found


def main() -> int:
    """The command: exits 1 with one sentence when it cannot start."""
    logs.to_standard_error()
    try:
        settings = Settings.load()
    except Misconfigured as error:
        sys.stderr.write(f"remit: {error}\n")
        return 1
    if settings.workers > 1:
        return workers.run(settings.workers, lambda ready: work(settings, Life(ready)))
    return work(settings, Life())


def work(settings: Settings, life: Life) -> int:
    """One process that serves, to its end; 1 when it cannot start."""
    listening.allow_descriptors()
    try:
        uvloop.run(serve(settings, life))
    except (NotReady, Misconfigured, TokenFault, Refused) as error:
        sys.stderr.write(f"remit: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
