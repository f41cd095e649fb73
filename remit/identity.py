"""What both twins are, `Agent` and `AsyncAgent`: a live credential, and all that is done with it without waiting.

Imports what is heavy where it is used, as `remit.agent` does.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from remit.failed import Failed
from remit.upkeep import State

if TYPE_CHECKING:
    import ssl

    from remit.credential import Credential
    from remit.mcp import McpAuth
    from remit.oauth import Method, OAuth
    from remit.starting import Started

_Made = TypeVar("_Made")


class Share(TypedDict, total=False):
    """What a child is given; of what is not named, all that the parent has.

    - `agent`: its name, the parent's and a dot and a suffix; one is made up without it.
    - `scope`, `resources` (RFC 8707), `authorization_details` (RFC 9396), `not_after`: within the parent's.
    - `max_depth`: how many generations it may have below it, none without it.
    """

    agent: str
    scope: str
    resources: list[str]
    authorization_details: list[dict[str, Any]]
    max_depth: int
    not_after: datetime


class Identity:
    """What both twins are: a credential that is kept fresh, and a TLS context that presents the newest."""

    def __init__(self, started: Started) -> None:
        self._started = started
        self._holder = started.holder

    @property
    def context(self) -> ssl.SSLContext:
        """Presents the newest chain in every handshake that begins from now on; for any client of TLS.

        Servers are verified by `verify`. It is one object for the agent's life, and may be set further.
        """
        return self._started.context

    @property
    def credential(self) -> Credential:
        """The newest certificate, its key, and what the authority said of it: `task`, `scope`, `not_after` ..."""
        return self._holder.credential

    @property
    def state(self) -> State:
        """FRESH, OVERDUE (good, but it could not be renewed yet), EXPIRED or REFUSED."""
        return self._holder.state

    @property
    def sentence(self) -> str:
        """What the last renewal failed by; empty where it did not."""
        return self._holder.sentence

    @property
    def next_try(self) -> datetime:
        """When the authority is asked for the next certificate."""
        return self._holder.next_try

    def on_credential(self, listener: Callable[[Credential], None]) -> None:
        """Has `listener` called with every new credential, by the thread that renews."""
        self._holder.on_credential(listener)

    def oauth(
        self,
        issuer: str,
        *,
        method: Method = "tls_client_auth",
        client_id: str | None = None,
        scope: str | None = None,
        resource: str | Sequence[str] = (),
        dpop: bool = False,
        x5c: bool = False,
        **parameters: str,
    ) -> OAuth:
        """Tokens of this authorization server (RFC 8414) by client credentials, for `me.client(auth=...)`.

        The client is known by the certificate (`tls_client_auth`) or by a JWT of its key (`private_key_jwt`; with
        `x5c` that carries the chain), as `client_id`: the agent's own at the authority without it. `resource` is
        RFC 8707's; with `dpop` tokens are bound to the certificate's key (RFC 9449). They are kept until shortly
        before their end, and no longer than the certificate. A request raises `Failed` where no token is given.
        """
        from remit.oauth import OAuth
        from remit.oauth.asking import Client, Wish

        resources = (resource,) if isinstance(resource, str) else tuple(resource)
        return OAuth(self, issuer, Client(method, client_id, dpop, x5c), Wish(scope, resources, parameters))

    def mcp(
        self,
        url: str,
        *,
        issuer: str | None = None,
        method: Method = "tls_client_auth",
        client_id: str | None = None,
        scope: str | None = None,
        dpop: bool = False,
    ) -> McpAuth:
        """For the MCP server at `url`: finds its authorization server from what it refuses by (RFC 9728).

        With `issuer`, no other authorization server is asked. The rest as of `oauth`.
        """
        from remit.mcp import McpAuth
        from remit.oauth.asking import Client

        return McpAuth(self, url, Client(method, client_id, dpop), issuer=issuer, scope=scope)

    def presented(self) -> Hashable:
        """What tells the connections of one certificate from those of another, or of its having ended."""
        credential = self.credential
        return credential.serial, datetime.now(UTC) >= credential.not_after  # noqa: TID251 (as the holder's)

    def _made(self, kind: Callable[..., _Made], options: dict[str, Any]) -> Callable[[], _Made]:
        given = {name: options.pop(name) for name in ("http1", "limits", "proxy", "retries") if name in options}
        return lambda: kind(verify=self.context, trust_env=False, **given)

    def _delegated(self, share: Share) -> Started:
        from remit.credential import Credential
        from remit.holder import clock
        from remit.keys import AgentKey
        from remit.starting import start_with

        key = AgentKey.generate()
        authority = self._holder.authority
        answer = authority.delegate(self.credential, key.csr(), _asked(share))
        credential = Credential.of(key.pem, authority.root, answer, clock())
        return start_with(authority, credential, self._started.verify)

    def _certified(self, csr: bytes | str, share: Share) -> bytes:
        text = csr.decode() if isinstance(csr, bytes) else csr
        answer = self._holder.authority.delegate(self.credential, text, _asked(share))
        return str(answer["chain"]).encode()

    def _complete(self) -> None:
        self._holder.authority.complete(self.credential)
        self._holder.close()


def _asked(share: Share) -> dict[str, Any]:
    end = share.get("not_after")
    if end is None:
        return dict(share)
    if end.tzinfo is None:
        raise Failed("not_after needs a time zone.")
    return {**share, "not_after": end.isoformat()}
