"""One JSON document from an issuer, over https, within limits of time and size.

The name is resolved once, every address is checked, and the connection is made to that very address, so that a name
which points elsewhere a moment later (DNS rebinding) leads nowhere; the certificate must still be the name's. No
redirect is followed, no proxy is used, no cookie kept, and nothing is decompressed.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

from ca.proofs import addresses, jwt
from ca.proofs.addresses import Address, Inside, Location, NotAllowed
from ca.proofs.jwt import Unfit

MAX_OCTETS = 131072
CONNECT_SECONDS = 3.0
READ_SECONDS = 5.0
TOTAL_SECONDS = 10.0

_MAX_ADDRESSES = 8
_HEADERS = {"Accept": "application/json, application/jwk-set+json", "Accept-Encoding": "identity"}
_JSON = ("application/json", "application/jwk-set+json")  # OIDC Discovery 4.2, RFC 8414 3.2, RFC 7517 8.5.1

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]


class NotFetched(Exception):  # noqa: N818 (an answer: no document)
    """The document could not be had, or may not be fetched; one sentence for the log and `doctor`."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a name, by the machine's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


@dataclass(frozen=True, slots=True)
class Fetcher:
    """What one issuer's documents are fetched with. `total` bounds all of it, from the name to the last octet."""

    tls: ssl.SSLContext
    inside: Inside = field(default_factory=Inside)
    resolver: Resolver = resolve
    total: float = TOTAL_SECONDS

    async def fetch(self, url: str, bearer: str | None = None) -> dict[str, Any]:
        """The JSON object there. The bearer token is for this URL alone. Raises `NotFetched`."""
        try:
            location = Location.parse(url)
            async with asyncio.timeout(self.total):
                return await self._first(location, await self._addresses(location), bearer)
        except NotAllowed as error:
            raise NotFetched(f"{url[:200]!r} may not be fetched: {error}") from error
        except TimeoutError as error:
            raise NotFetched(f"{url} took longer than {self.total:g} s") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as error:
            raise NotFetched(f"{url} cannot be fetched ({str(error) or type(error).__name__})") from error

    async def _addresses(self, location: Location) -> list[Address]:
        """Every address of the name, or none: one that is forbidden among them condemns all."""
        literal = location.literal
        named = [literal] if literal else [*map(addresses.address, await self.resolver(location.host, location.port))]
        for one in named:
            self.inside.check(location.host, one)
        if not named:
            raise NotAllowed("its name has no address")
        return named[:_MAX_ADDRESSES]

    async def _first(self, location: Location, found: Sequence[Address], bearer: str | None) -> dict[str, Any]:
        """From the first address that can be reached."""
        *others, last = found
        for one in others:
            try:
                return await self._document(location, one, bearer)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                continue
        return await self._document(location, last, bearer)

    async def _document(self, location: Location, address: Address, bearer: str | None) -> dict[str, Any]:
        headers = _HEADERS | {"Host": location.authority}
        if bearer is not None:
            headers["Authorization"] = f"Bearer {bearer}"
        # The name that the certificate must be for; the address stands in the URL.
        extensions = {} if location.literal else {"sni_hostname": location.host}
        timeout = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
        async with (
            httpx2.AsyncClient(verify=self.tls, trust_env=False, follow_redirects=False, timeout=timeout) as client,
            client.stream("GET", location.at(address), headers=headers, extensions=extensions) as answer,
        ):
            _check_head(answer)
            return _parsed(await _body(answer))


def _check_head(answer: httpx2.Response) -> None:
    if answer.status_code != 200:
        raise httpx2.HTTPError(f"it answers {answer.status_code}")
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _JSON:
        raise httpx2.HTTPError("it answers with something other than JSON")
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise httpx2.HTTPError("it answers compressed, unasked")


async def _body(answer: httpx2.Response) -> bytes:
    body = bytearray()
    async for part in answer.aiter_raw():
        body += part
        if len(body) > MAX_OCTETS:
            raise httpx2.HTTPError(f"it answers with more than {MAX_OCTETS} octets")
    return bytes(body)


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        return jwt.parse_object(body)
    except Unfit as unfit:
        raise httpx2.HTTPError("it answers with no JSON object that can be read one way") from unfit
