"""What an agent holds in three lines: `Agent`, and its twin for event loops, `AsyncAgent`.

Imports what is heavy (httpx2, cryptography) where it is used: whoever imports this has not enrolled yet.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, Unpack

from remit.identity import Identity, Share

if TYPE_CHECKING:
    import httpx2

    from remit.starting import Options, Started

_Made = TypeVar("_Made")
_Agent = TypeVar("_Agent", bound="AsyncAgent")


class Agent(Identity):
    """An agent with a live certificate, for programs without an event loop.

    with Agent.enroll("https://ca.example:8443", root="ca.crt", token_file="token") as me:
        with me.client() as http:
            http.get("https://api.example/")
    """

    @classmethod
    def enroll(cls, ca_url: str | None = None, **options: Unpack[Options]) -> Self:
        """Has a certificate in one round trip, and renews it from then on (`remit.starting.Options`).

        `ca_url` is `REMIT_CA` without it. Raises `Failed`.
        """
        return cls(_started(ca_url, options))

    def client(self, **options: Any) -> httpx2.Client:
        """An HTTP client that presents the newest certificate; options as of `httpx2.Client`.

        A connection does not outlive the certificate that it was made with, and no request fails over that.
        Proxies are given by `proxy`, not taken from the environment.
        """
        import httpx2

        from remit.transport import Transport

        made = self._made(httpx2.HTTPTransport, options)
        return httpx2.Client(transport=Transport(self.presented, made), **options)

    def delegate(self, **share: Unpack[Share]) -> Self:
        """A child with its own key, name and certificate, within what this one has. Raises `Failed`."""
        return type(self)(self._delegated(share))

    def certify(self, csr: bytes | str, **share: Unpack[Share]) -> bytes:
        """The chain in PEM for a child that made its own key and sent its CSR. Raises `Failed`."""
        return self._certified(csr, share)

    def renew(self) -> None:
        """Renews now; nobody needs to. Raises `Failed`."""
        self._holder.renew()

    def complete(self) -> None:
        """Ends the task, which revokes all that was issued for it, and closes. Raises `Failed`."""
        self._complete()

    def close(self) -> None:
        """Ends the renewals; the certificate serves to its end."""
        self._holder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class AsyncAgent(Identity):
    """An agent with a live certificate, for programs with an event loop.

        async with AsyncAgent.enroll() as me, me.client() as http:
            await http.get("https://api.example/")

    Renewals are a thread's, so that a busy loop does not let a certificate end.
    """

    @classmethod
    def enroll(cls, ca_url: str | None = None, **options: Unpack[Options]) -> Opening[Self]:
        """As `Agent.enroll`: to be entered by `async with`, or awaited."""
        return Opening(lambda: cls(_started(ca_url, options)))

    def client(self, **options: Any) -> httpx2.AsyncClient:
        """As `Agent.client`; options as of `httpx2.AsyncClient`."""
        import httpx2

        from remit.transport import AsyncTransport

        made = self._made(httpx2.AsyncHTTPTransport, options)
        return httpx2.AsyncClient(transport=AsyncTransport(self.presented, made), **options)

    def delegate(self, **share: Unpack[Share]) -> Opening[Self]:
        """As `Agent.delegate`: to be entered by `async with`, or awaited."""
        return Opening(lambda: type(self)(self._delegated(share)))

    async def certify(self, csr: bytes | str, **share: Unpack[Share]) -> bytes:
        """As `Agent.certify`."""
        return await _aside(lambda: self._certified(csr, share))

    async def renew(self) -> None:
        """As `Agent.renew`."""
        await _aside(self._holder.renew)

    async def complete(self) -> None:
        """As `Agent.complete`."""
        await _aside(self._complete)

    async def aclose(self) -> None:
        """As `Agent.close`."""
        self._holder.close()


class Opening(Generic[_Agent]):
    """An agent that is being enrolled, or given its share: `async with` it, or await it and close it yourself."""

    def __init__(self, made: Callable[[], _Agent]) -> None:
        self._made = made
        self._agent: _Agent | None = None

    def __await__(self) -> Generator[Any, Any, _Agent]:
        return _aside(self._made).__await__()

    async def __aenter__(self) -> _Agent:
        self._agent = await _aside(self._made)
        return self._agent

    async def __aexit__(self, *_error: object) -> None:
        if self._agent is not None:
            await self._agent.aclose()


def _started(ca_url: str | None, options: Options) -> Started:
    from remit.starting import start

    return start(ca_url, options)


async def _aside(work: Callable[[], _Made]) -> _Made:
    """By a thread of its own, so that the loop goes on."""
    from anyio import to_thread

    return await to_thread.run_sync(work)


__all__ = ["Agent", "AsyncAgent", "Identity", "Opening", "Share"]
