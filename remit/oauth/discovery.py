"""Where an authorization server gives tokens: its metadata, and that it is who it was taken for (RFC 8414)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import httpx2

from remit.failed import Failed

Steps = Generator[httpx2.Request, httpx2.Response]
_WELL_KNOWN = "/.well-known"


@dataclass(frozen=True, slots=True)
class Server:
    """An authorization server: its issuer identifier, and the token endpoint for clients with a certificate."""

    issuer: str
    token_endpoint: str


def discovered(issuer: str) -> Generator[httpx2.Request, httpx2.Response, Server]:
    """Asks each place where metadata may be, the OAuth one before OpenID's. Raises `Failed`."""
    require_https(issuer)
    for place in _places(issuer):
        answer = yield httpx2.Request("GET", place, headers={"Accept": "application/json"})
        if answer.status_code == 200:
            return _server(issuer, document(answer, place))
    raise Failed(f"{issuer} publishes no metadata of an authorization server (RFC 8414).")


def document(answer: httpx2.Response, place: str) -> dict[str, Any]:
    """The JSON object that was answered at this place. Raises `Failed`."""
    if was_redirected(answer, place):
        raise Failed(f"{place} leads elsewhere; metadata is taken from its own place alone.")
    try:
        body = answer.json()
    except ValueError as error:
        raise Failed(f"{place} did not answer with JSON.") from error
    if not isinstance(body, dict):
        raise Failed(f"{place} did not answer with a JSON object.")
    return body


def was_redirected(answer: httpx2.Response, place: str) -> bool:
    """Whether a client that follows redirects was led away from what it was asked for."""
    return answer.request.url != httpx2.URL(place)


def require_https(url: str) -> httpx2.URL:
    """The URL, which nobody on the way can read or change. Raises `Failed`."""
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, TypeError) as error:
        raise Failed("That is no URL.") from error
    if parsed.scheme != "https" or not parsed.host or parsed.userinfo or parsed.fragment:
        raise Failed(f"{parsed} is no https URL of a server.")
    return parsed


def _places(issuer: str) -> list[str]:
    """RFC 8414 3.1: between host and path; and OpenID Connect Discovery 4.1, behind the path."""
    url = httpx2.URL(issuer)
    path = url.path.rstrip("/")
    found = [f"{_WELL_KNOWN}/oauth-authorization-server{path}", f"{_WELL_KNOWN}/openid-configuration{path}"]
    if path:
        found.append(f"{path}{_WELL_KNOWN}/openid-configuration")
    return [str(url.copy_with(path=place)) for place in found]


def _server(issuer: str, metadata: dict[str, Any]) -> Server:
    """RFC 8414 3.3: another issuer's metadata is not to be used. RFC 8705 5: where certificates are shown."""
    if metadata.get("issuer") != issuer:
        raise Failed(f"{issuer} answered with the metadata of another issuer.")
    aliases = metadata.get("mtls_endpoint_aliases")
    endpoint = aliases.get("token_endpoint") if isinstance(aliases, dict) else None
    endpoint = endpoint or metadata.get("token_endpoint")
    if not isinstance(endpoint, str):
        raise Failed(f"{issuer} has no token endpoint.")
    require_https(endpoint)
    return Server(issuer, endpoint)
