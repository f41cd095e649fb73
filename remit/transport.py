"""HTTP connections that do not outlive the certificate they were made with, and never break a request over it.

A connection keeps the certificate of its handshake for as long as it is open. So connections belong to a
generation, that of the certificate they present: once there is another certificate new requests are of the next
generation, those that run end in theirs, and with the last of them its connections are closed.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio
import httpx2

_Transport = TypeVar("_Transport")


@dataclass(eq=False, slots=True)
class _Generation(Generic[_Transport]):
    of: Hashable
    transport: _Transport
    running: int = 0


class _Generations(Generic[_Transport]):
    """Which generation a request belongs to, and which transport nobody uses any more."""

    def __init__(self, presented: Callable[[], Hashable], made: Callable[[], _Transport]) -> None:
        self._presented = presented
        self._made = made
        self._lock = threading.Lock()
        self._newest: _Generation[_Transport] | None = None
        self._older: list[_Generation[_Transport]] = []

    def enter(self) -> tuple[_Generation[_Transport], _Transport | None]:
        """For a request that begins: its generation, and a transport to close."""
        now = self._presented()
        with self._lock:
            idle = None
            if self._newest is None or self._newest.of != now:
                if self._newest is not None and self._newest.running:
                    self._older.append(self._newest)
                elif self._newest is not None:
                    idle = self._newest.transport
                self._newest = _Generation(now, self._made())
            self._newest.running += 1
            return self._newest, idle

    def leave(self, generation: _Generation[_Transport]) -> _Transport | None:
        """For a request that ended: a transport to close."""
        with self._lock:
            generation.running -= 1
            if generation.running or generation not in self._older:
                return None
            self._older.remove(generation)
            return generation.transport

    def all(self) -> list[_Transport]:
        """Every transport, to be closed; none is left."""
        with self._lock:
            found = [*self._older, *([self._newest] if self._newest else [])]
            self._older, self._newest = [], None
            return [one.transport for one in found]


class Transport(httpx2.BaseTransport):
    """For `httpx2.Client`. `presented` tells certificates apart, `made` makes what connects."""

    def __init__(self, presented: Callable[[], Hashable], made: Callable[[], httpx2.HTTPTransport]) -> None:
        self._generations = _Generations(presented, made)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        generation, idle = self._generations.enter()
        if idle is not None:
            idle.close()
        try:
            response = generation.transport.handle_request(request)
        except BaseException:
            self._leave(generation)
            raise
        assert isinstance(response.stream, httpx2.SyncByteStream)  # noqa: S101 (of a synchronous transport)
        response.stream = _Stream(response.stream, lambda: self._leave(generation))
        return response

    def close(self) -> None:
        for transport in self._generations.all():
            transport.close()

    def _leave(self, generation: _Generation[httpx2.HTTPTransport]) -> None:
        done = self._generations.leave(generation)
        if done is not None:
            done.close()


class AsyncTransport(httpx2.AsyncBaseTransport):
    """For `httpx2.AsyncClient`."""

    def __init__(self, presented: Callable[[], Hashable], made: Callable[[], httpx2.AsyncHTTPTransport]) -> None:
        self._generations = _Generations(presented, made)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        generation, idle = self._generations.enter()
        try:
            if idle is not None:
                await _close(idle)
            response = await generation.transport.handle_async_request(request)
        except BaseException as error:
            await self._leave(generation)
            if isinstance(error, ssl.SSLError):
                # A refusal in TLS 1.3 comes with the first read; only the synchronous twin of httpx2 has a name for it.
                raise httpx2.ReadError(str(error), request=request) from error
            raise
        assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101 (of an asynchronous transport)
        response.stream = _AsyncStream(response.stream, lambda: self._leave(generation))
        return response

    async def aclose(self) -> None:
        for transport in self._generations.all():
            await transport.aclose()

    async def _leave(self, generation: _Generation[httpx2.AsyncHTTPTransport]) -> None:
        done = self._generations.leave(generation)
        if done is not None:
            await _close(done)


class _Stream(httpx2.SyncByteStream):
    """A response's octets; when they end, or nobody wants the rest, so does the request."""

    def __init__(self, inner: httpx2.SyncByteStream, leave: Callable[[], None]) -> None:
        self._inner = inner
        self._leave: Callable[[], None] | None = leave

    def __iter__(self) -> Iterator[bytes]:
        yield from self._inner

    def close(self) -> None:
        leave, self._leave = self._leave, None
        try:
            self._inner.close()
        finally:
            if leave is not None:
                leave()


class _AsyncStream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, leave: Callable[[], Awaitable[None]]) -> None:
        self._inner = inner
        self._leave: Callable[[], Awaitable[None]] | None = leave

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._inner:
            yield part

    async def aclose(self) -> None:
        leave, self._leave = self._leave, None
        try:
            await self._inner.aclose()
        finally:
            if leave is not None:
                await leave()


async def _close(transport: httpx2.AsyncHTTPTransport) -> None:
    """Also where the request was cancelled, or the connections would stay."""
    with anyio.CancelScope(shield=True):
        await transport.aclose()
