"""`httpx2.Auth` that has a token before a request needs it, and another where that one is not taken any more."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import AsyncGenerator, Generator
from datetime import datetime
from typing import Protocol

import anyio
import httpx2

from remit.credential import Credential
from remit.holder import clock
from remit.jose import Signer
from remit.oauth import proofs
from remit.oauth.asking import Client, Nonces, Token, Wish
from remit.oauth.discovery import Server, discovered

_MOST = 4
"""Times that a request is sent: without a token, with one, with a nonce, with more scope. No server makes it more."""

Obtaining = Generator[httpx2.Request, httpx2.Response, Token | None]


class Presenter(Protocol):
    """Whoever holds the credential: an `Agent` or an `AsyncAgent`."""

    @property
    def credential(self) -> Credential: ...


class TokenAuth(httpx2.Auth):
    """What is the same wherever the token comes from.

    One request at a time asks for a token, the others wait for it. Tokens are asked for through the client whose
    request needs them, so that whatever they are bound to is presented with both.
    """

    def __init__(self, agent: Presenter, client: Client) -> None:
        self._agent = agent
        self._client = client
        self._nonces = Nonces()
        self._token: Token | None = None
        self._threads = threading.Lock()
        self._tasks = anyio.Lock()

    @abstractmethod
    def _obtaining(self) -> Obtaining:
        """What to send for a token, or None where none is needed as far as is known."""

    def sync_auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Once more where the answer says that another token, more scope or a nonce would do."""
        for _ in range(_MOST):
            with self._threads:
                steps = self._current(request)
                try:
                    sent = next(steps)
                    while True:
                        answer = yield sent
                        answer.read()
                        sent = steps.send(answer)
                except StopIteration as done:
                    token, is_new = done.value
            self._show(request, token)
            answer = yield request
            if not self._is_worth_another(request, answer, token, is_new):
                return

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """As `sync_auth_flow`."""
        for _ in range(_MOST):
            async with self._tasks:
                steps = self._current(request)
                try:
                    sent = next(steps)
                    while True:
                        answer = yield sent
                        await answer.aread()
                        sent = steps.send(answer)
                except StopIteration as done:
                    token, is_new = done.value
            self._show(request, token)
            answer = yield request
            if not self._is_worth_another(request, answer, token, is_new):
                return

    def _current(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response, tuple[Token | None, bool]]:
        """The token that serves, and whether it is new. If the certificate was renewed meanwhile, it is asked again."""
        token = self._token
        if token is not None and token.serves(self._agent.credential, self._now()):
            return token, False
        for _ in range(2):
            token = yield from _with_timeout(self._obtaining(), request)
            if token is None or token.serves(self._agent.credential, self._now()):
                break
        self._token = token
        return token, token is not None

    def _show(self, request: httpx2.Request, token: Token | None) -> None:
        if token is None:
            return
        if not token.by_dpop:
            request.headers["Authorization"] = f"Bearer {token.value}"
            return
        signer = Signer(token.credential.key, token.credential.chain)
        nonce = self._nonces.of(request.url)
        proof = proofs.dpop(signer, request.method, request.url, self._now(), nonce=nonce, token=token.value)
        request.headers["Authorization"] = f"DPoP {token.value}"
        request.headers["DPoP"] = proof

    def _is_worth_another(
        self, request: httpx2.Request, answer: httpx2.Response, token: Token | None, is_new: bool
    ) -> bool:
        """RFC 9449 9: a nonce is wanted. RFC 6750 3.1: the token is not taken; one that is new will not be either."""
        has_nonce = token is not None and token.by_dpop and self._nonces.note(answer)
        if answer.status_code != 401 or not isinstance(request.stream, httpx2.ByteStream):
            return False
        if has_nonce:
            return True
        if is_new or token is None:
            return False
        if self._token is token:
            self._token = None
        return True

    def _now(self) -> datetime:
        return clock()


class OAuth(TokenAuth):
    """Tokens of one authorization server, known by its issuer identifier."""

    def __init__(self, agent: Presenter, issuer: str, client: Client, wish: Wish) -> None:
        super().__init__(agent, client)
        self._issuer = issuer
        self._wish = wish
        self._server: Server | None = None

    def _obtaining(self) -> Obtaining:
        if self._server is None:
            self._server = yield from discovered(self._issuer)
        credential = self._agent.credential
        return (yield from self._client.asking(self._server, self._wish, credential, self._nonces, self._now()))


def _with_timeout(steps: Obtaining, request: httpx2.Request) -> Obtaining:
    """What is sent on the way waits no longer than the request itself would."""
    try:
        sent = next(steps)
        while True:
            if "timeout" in request.extensions:
                sent.extensions["timeout"] = request.extensions["timeout"]
            sent = steps.send((yield sent))
    except StopIteration as done:
        found: Token | None = done.value
        return found
