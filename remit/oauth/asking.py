"""Asking an authorization server for a token by client credentials (RFC 6749 4.4), and what comes of it."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import httpx2

from remit.credential import Credential
from remit.failed import Failed
from remit.jose import Signer
from remit.oauth import proofs
from remit.oauth.discovery import Server, was_redirected

Method = Literal["tls_client_auth", "private_key_jwt"]
"""How the client is known: by the certificate of the connection (RFC 8705 2.1), or by a JWT of its key (RFC 7523)."""

_JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_UNSAID = timedelta(minutes=1)
"""How long a token is used whose server does not say."""

_MARGIN = timedelta(seconds=30)
_MARGIN_PART = 0.2
"""A token is not used any more so long before its end, or in this last part of its life if that is shorter."""

_LONGEST_DESCRIPTION = 200


class Nonces:
    """The newest nonce of each server (RFC 9449 8, 9)."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, str, int | None], str] = {}

    def of(self, url: httpx2.URL) -> str | None:
        return self._newest.get((url.scheme, url.host, url.port))

    def note(self, answer: httpx2.Response) -> bool:
        """Whether it brought one that was not known."""
        nonce, url = answer.headers.get("dpop-nonce"), answer.request.url
        if nonce is None or nonce == self.of(url):
            return False
        self._newest[url.scheme, url.host, url.port] = nonce
        return True


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, the credential that it was had with and is presented beside, and until when it is used."""

    value: str = field(repr=False)
    credential: Credential
    until: datetime
    by_dpop: bool

    def serves(self, credential: Credential, now: datetime) -> bool:
        """A token may be bound to a certificate (RFC 8705 3) or its key: with another one it is worth nothing."""
        return credential.serial == self.credential.serial and now < self.until


@dataclass(frozen=True, slots=True)
class Wish:
    """What a token is to be good for."""

    scope: str | None = None
    resources: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Client:
    """How an agent is a client: by which method, under which name (its own without one), by DPoP or not.

    `with_chain`: its JWTs carry the certificate's chain, for servers that have no other way to the key.
    """

    method: Method = "tls_client_auth"
    client_id: str | None = None
    by_dpop: bool = False
    with_chain: bool = False

    def asking(
        self, server: Server, wish: Wish, credential: Credential, nonces: Nonces, now: datetime
    ) -> Generator[httpx2.Request, httpx2.Response, Token]:
        """The request, and a second one where the server first wants a nonce in it. Raises `Failed`."""
        answer = yield self._request(server, wish, credential, nonces, now)
        if nonces.note(answer) and _error(answer) == "use_dpop_nonce":
            answer = yield self._request(server, wish, credential, nonces, now)
        return self._token(server, answer, credential, now)

    def _request(
        self, server: Server, wish: Wish, credential: Credential, nonces: Nonces, now: datetime
    ) -> httpx2.Request:
        signer = Signer(credential.key, credential.chain)
        client_id = self.client_id or credential.client_id
        form: dict[str, str | Sequence[str]] = {"grant_type": "client_credentials", "client_id": client_id}
        if wish.scope:
            form["scope"] = wish.scope
        if wish.resources:
            form["resource"] = wish.resources
        if self.method == "private_key_jwt":
            form["client_assertion_type"] = _JWT_BEARER
            enclosed = signer.enclosed() if self.with_chain else {}
            form["client_assertion"] = proofs.client_assertion(signer, client_id, server.issuer, now, enclosed)
        headers = {"Accept": "application/json"}
        if self.by_dpop:
            url = httpx2.URL(server.token_endpoint)
            headers["DPoP"] = proofs.dpop(signer, "POST", url, now, nonce=nonces.of(url))
        return httpx2.Request("POST", server.token_endpoint, data={**wish.parameters, **form}, headers=headers)

    def _token(self, server: Server, answer: httpx2.Response, credential: Credential, now: datetime) -> Token:
        body = _object(answer)
        value, kind = body.get("access_token"), str(body.get("token_type", "")).lower()
        if answer.status_code != 200 or was_redirected(answer, server.token_endpoint) or not isinstance(value, str):
            raise Failed(f"{server.issuer} gave no token: {_reason(answer, body)}.", status=answer.status_code)
        if kind != ("dpop" if self.by_dpop else "bearer"):
            raise Failed(f"{server.issuer} gave a token of another type than was asked for.")
        return Token(value, credential, min(now + _use(body.get("expires_in")), credential.not_after), self.by_dpop)


def _use(expires_in: Any) -> timedelta:
    """For how long a token is used that lives for so many seconds."""
    try:
        life = timedelta(seconds=max(0.0, float(expires_in)))
    except (TypeError, ValueError, OverflowError):
        life = _UNSAID
    return life - min(_MARGIN, life * _MARGIN_PART)


def _object(answer: httpx2.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _error(answer: httpx2.Response) -> str:
    return str(_object(answer).get("error", ""))


def _reason(answer: httpx2.Response, body: dict[str, Any]) -> str:
    """The error code and its description (RFC 6749 5.2), as much of it as a line holds."""
    said = ": ".join(str(body[name]) for name in ("error", "error_description") if name in body)
    printable = "".join(character for character in said if character.isprintable())[:_LONGEST_DESCRIPTION]
    return printable.rstrip(".") or f"it answered {answer.status_code}"
