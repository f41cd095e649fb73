"""What strangers may hold of a server: for how long they may be silent, and how many of them there may be.

uvicorn waits for a handshake a minute, and for the head and the body of a request for ever. Here each
has its time, an answer that nobody reads has one too, and beyond so many connections the longest
idle ones make room for new ones: a caller that means it is served, however many sit around.
"""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_SWEEP_TICKS = 10  # of uvicorn, a tenth of a second each
_DESCRIPTORS = 65536
_ROOM = 16  # one of so many connections makes room at once, so that looking for them is seldom

_log = structlog.get_logger("remit.listening")


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that a caller may take for each part of a request, and connections that may be open."""

    handshake: float = 5.0
    head: float = 10.0
    body: float = 20.0
    answer: float = 60.0
    connections: int = 4096


PATIENCE = Patience()


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, which knows since when its caller owes it something."""

    patience = PATIENCE

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn narrows it
        """Makes room where there is none."""
        super().connection_made(transport)
        self._owes(self.patience.head)
        if len(self.connections) > self.patience.connections:
            _make_room(self)

    def on_message_begin(self) -> None:
        """The first octet of a request."""
        super().on_message_begin()
        self._owes(self.patience.head)

    def on_headers_complete(self) -> None:
        """What follows is the body, if there is one."""
        super().on_headers_complete()
        self._owes(self.patience.body)

    def on_message_complete(self) -> None:
        """It is the application's turn."""
        super().on_message_complete()
        self._owes(None)

    def on_response_complete(self) -> None:
        """Idle; uvicorn's own timer ends that."""
        self._owes(None)
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The caller does not read its answer as quickly as it is written."""
        super().pause_writing()
        self._owes(self.patience.answer)

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self._owes(None)

    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def is_overdue(self, now: float) -> bool:
        """Whether what the caller owes has not come in its time."""
        return self.within is not None and now - self.since > self.within

    def _owes(self, within: float | None) -> None:
        self.since, self.within = self.loop.time(), within


class PatientServer(uvicorn.Server):
    """uvicorn's server on a socket of ours: it ends what takes too long."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, with a time for the handshake, which it has no option for."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(1)
        loop = asyncio.get_running_loop()
        tls: dict[str, Any] = (
            {"ssl": self.config.ssl, "ssl_handshake_timeout": PATIENCE.handshake} if self.config.ssl else {}
        )
        self.servers = [
            await loop.create_server(self._protocol, sock=one, backlog=self.config.backlog, **tls)
            for one in sockets or []
        ]
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """Once a second, looks who is overdue."""
        if counter % _SWEEP_TICKS == 0:
            self._sweep(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    def _protocol(self) -> asyncio.Protocol:
        protocol: type[Any] = self.config.http_protocol_class
        made: asyncio.Protocol = protocol(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    def _sweep(self, now: float) -> None:
        overdue = [one for one in _patient(self.server_state.connections) if one.is_overdue(now)]
        for one in overdue:
            one.transport.abort()
        if overdue:
            _log.warning("connections_overdue", count=len(overdue), open=len(self.server_state.connections))


class SideServer(PatientServer):
    """One beside the process's own server, in the same loop: that one hears the signals, and ends this one."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None of them."""
        yield


def listener(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A bound socket; a `shared` one on a port that other processes of the same user bind too. Raises `OSError`."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, protocol)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def local_listener(path: str) -> socket.socket:
    """A bound socket in the file system, for its owner and group, in place of one that nobody serves any more.

    Raises `OSError`.
    """
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear(path)
        previous = os.umask(0o117)
        try:
            bound.bind(path)
        finally:
            os.umask(previous)
    except OSError:
        bound.close()
        raise
    return bound


def _clear(path: str) -> None:
    """Takes away the socket of a process that is gone. Raises `OSError` for one that is served, or no socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            if not Path(path).is_socket():
                raise
            Path(path).unlink()
            return
    raise OSError(errno.EADDRINUSE, "another process serves it")


def allow_descriptors() -> None:
    """Lets this process open as many files as the system allows it, up to a bound: each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, _DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _make_room(newcomer: PatientProtocol) -> None:
    """Ends the connections that are idle for longest; where all are busy, the newcomer's."""
    idle = [one for one in _patient(newcomer.connections) if one is not newcomer and one.is_idle()]
    many = max(1, newcomer.patience.connections // _ROOM)
    longest = nsmallest(many, idle, key=lambda one: one.since) or [newcomer]
    for one in longest:
        one.transport.abort()
    _log.warning("connections_full", open=len(newcomer.connections), ended=len(longest))


def _patient(connections: set[Any]) -> list[PatientProtocol]:
    return [one for one in connections if isinstance(one, PatientProtocol)]
