"""Authorization towards an MCP server, for the MCP Python SDK's client over HTTP.

    async with AsyncAgent.enroll() as me, me.client(auth=me.mcp(URL)) as http:
        async with Client(streamable_http_client(URL, http_client=http)) as mcp: ...

The server's first refusal says where its metadata is (RFC 9728); that names the resource and who gives tokens for it
(RFC 8414); the token is asked for that resource alone (RFC 8707) and sent to that server alone.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import httpx2

from remit.failed import Failed
from remit.oauth.asking import Client, Token, Wish
from remit.oauth.auth import Obtaining, Presenter, TokenAuth
from remit.oauth.discovery import Server, discovered, document, require_https

_PARAMETER = re.compile(r'([a-zA-Z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_PROTECTED = "/.well-known/oauth-protected-resource"


@dataclass(frozen=True, slots=True)
class Resource:
    """What a server says of itself: who it is, and whose tokens it takes for which scopes."""

    name: str
    servers: tuple[str, ...]
    scopes: tuple[str, ...]


class McpAuth(TokenAuth):
    """Tokens for one MCP server. `issuer` is the only authorization server that may be asked, if given."""

    def __init__(
        self, agent: Presenter, url: str, client: Client, *, issuer: str | None = None, scope: str | None = None
    ) -> None:
        super().__init__(agent, client)
        self._url = require_https(url)
        self._issuer, self._scope = issuer, scope
        self._challenge: dict[str, str] | None = None
        self._found: tuple[Resource, Server] | None = None

    def _obtaining(self) -> Obtaining:
        """Nothing until the server has refused once: it says where to go."""
        if self._challenge is None:
            return None
        if self._found is None:
            resource = yield from described(self._url, self._challenge.get("resource_metadata"))
            self._found = resource, (yield from discovered(self._chosen(resource)))
        resource, server = self._found
        wish = Wish(self._wanted(resource), (resource.name,))
        return (yield from self._client.asking(server, wish, self._agent.credential, self._nonces, self._now()))

    def _show(self, request: httpx2.Request, token: Token | None) -> None:
        if _origin(request.url) != _origin(self._url):
            raise Failed(f"This token is for {self._url} and is not sent to {request.url.host}.")
        super()._show(request, token)

    def _is_worth_another(
        self, request: httpx2.Request, answer: httpx2.Response, token: Token | None, is_new: bool
    ) -> bool:
        """Also what no token was sent with, and what wants more scope than was asked for (RFC 6750 3.1)."""
        said = challenge(answer)
        if answer.status_code == 401 and token is None:
            self._challenge = self._challenge or said
        elif _wants_more(answer, said) and said["scope"] != self._asked_scope():
            self._challenge = {**(self._challenge or {}), "scope": said["scope"]}
            self._token = None
        else:
            return super()._is_worth_another(request, answer, token, is_new)
        return isinstance(request.stream, httpx2.ByteStream)

    def _asked_scope(self) -> str | None:
        return (self._challenge or {}).get("scope")

    def _chosen(self, resource: Resource) -> str:
        if self._issuer is None:
            return resource.servers[0]
        if self._issuer not in resource.servers:
            raise Failed(f"{self._url} takes tokens of other servers than {self._issuer}.")
        return self._issuer

    def _wanted(self, resource: Resource) -> str | None:
        """What was asked for here; else what the server wants; else what it knows, within the task's scope."""
        asked = self._scope or self._asked_scope()
        if asked:
            return asked
        own = self._agent.credential.scope.split() or resource.scopes
        return " ".join(one for one in resource.scopes if one in own) or None


def _wants_more(answer: httpx2.Response, said: dict[str, str]) -> bool:
    return answer.status_code == 403 and said.get("error") == "insufficient_scope" and "scope" in said


def challenge(answer: httpx2.Response) -> dict[str, str]:
    """The parameters of a refusal's WWW-Authenticate (RFC 9110 11.6.1); of a name twice, the first."""
    found: dict[str, str] = {}
    for name, quoted, bare in _PARAMETER.findall(answer.headers.get("www-authenticate", "")):
        found.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted) or bare)
    return found


def described(url: httpx2.URL, place: str | None) -> Generator[httpx2.Request, httpx2.Response, Resource]:
    """The metadata of the server at `url`, where it said or where it should be (RFC 9728 3). Raises `Failed`."""
    for one in [place] if place else _places(url):
        answer = yield httpx2.Request("GET", require_https(one), headers={"Accept": "application/json"})
        if answer.status_code == 200:
            return _resource(url, document(answer, one), one)
    raise Failed(f"{url} does not say who gives tokens for it (RFC 9728).")


def _places(url: httpx2.URL) -> list[str]:
    path = url.path.rstrip("/")
    return [str(url.copy_with(path=f"{_PROTECTED}{one}", query=None)) for one in dict.fromkeys((path, ""))]


def _resource(url: httpx2.URL, body: dict[str, Any], place: str) -> Resource:
    """RFC 9728 3.3: what describes another resource is not to be used."""
    name, servers, scopes = (body.get(one) for one in ("resource", "authorization_servers", "scopes_supported"))
    if not isinstance(name, str) or not _covers(require_https(name), url):
        raise Failed(f"{place} describes another resource than {url}.")
    if not isinstance(servers, list) or not servers or not all(isinstance(one, str) for one in servers):
        raise Failed(f"{place} names no authorization server.")
    known = tuple(str(one) for one in scopes) if isinstance(scopes, list) else ()
    return Resource(name, tuple(servers), known)


def _covers(resource: httpx2.URL, url: httpx2.URL) -> bool:
    path = resource.path.rstrip("/")
    return _origin(resource) == _origin(url) and (url.path == path or f"{url.path}/".startswith(f"{path}/"))


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
