"""Raw ASGI: routes, bodies and headers. Nothing here decides what is said of a certificate."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus
from typing import Any

import structlog

from ca.hsm import Health, State
from ca.refusals import Reason
from ocsp.cache import Cache
from ocsp.document import INTERNAL_ERROR, MALFORMED, TOO_LARGE, Document, away, problem
from ocsp.metrics import Metrics
from ocsp.publications import NOT_FOUND, Publications
from ocsp.request import MAX_OCTETS
from ocsp.responder import Responder
from ocsp.spelling import MAX_CHARACTERS, spellings
from ocsp.view import View

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_OCSP = "/ocsp/"
_CRL = re.compile(r"/crl/([a-z0-9._-]{1,63})(?:/([0-9]{1,4}))?\.crl")
_CERTIFICATE = re.compile(r"/ca/([a-z0-9._-]{1,63})\.cer")

_log = structlog.get_logger("ocsp")


class App:
    """The ASGI application. `health` says what the signer can do now."""

    def __init__(
        self,
        *,
        view: View,
        cache: Cache,
        responder: Responder,
        publications: Publications,
        metrics: Metrics,
        health: Callable[[], Health],
        clock: Callable[[], datetime],
    ) -> None:
        self._view = view
        self._cache = cache
        self._responder = responder
        self._publications = publications
        self._metrics = metrics
        self._health = health
        self._clock = clock
        self._watching: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request, or the life of the server (ASGI 3)."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_ocsp = (scope["path"] + "/").startswith(_OCSP)
        try:
            document = await (self._ocsp(scope, receive) if is_ocsp else self._other(scope))
        except Exception as error:  # noqa: BLE001 (border: whatever a stranger sends, the answer is not a stack trace)
            _log.error("request failed", path=scope["path"][:80], exc_info=error)
            document = (
                self._refused(INTERNAL_ERROR, "internal_error") if is_ocsp else away("Something went wrong here.")
            )
        await self._send(document, scope, send)

    async def _ocsp(self, scope: Scope, receive: Receive) -> Document:
        if scope["method"] == "POST":
            body = await _body(receive)
            if len(body) > MAX_OCTETS:
                return self._refused(TOO_LARGE, "too_large")
            asked = [body]
        elif scope["method"] in ("GET", "HEAD"):
            text: bytes = scope["raw_path"][len(_OCSP) :]
            if len(text) > MAX_CHARACTERS:
                return self._refused(TOO_LARGE, "too_large")
            asked = spellings(text)
        else:
            return _not_allowed("GET, HEAD, POST")
        if not asked:
            return self._refused(MALFORMED, "malformed")
        cached = self._cache.current(asked[0], self._view.generation, self._clock())
        if cached is None:
            return await self._responder.answer(asked)
        self._metrics.cached.inc()
        return cached

    def _refused(self, document: Document, outcome: str) -> Document:
        self._metrics.answers.labels(outcome).inc()
        return document

    async def _other(self, scope: Scope) -> Document:
        path = scope["path"]
        if scope["method"] not in ("GET", "HEAD"):
            return _not_allowed("GET, HEAD")
        if match := _CRL.fullmatch(path):
            return self._published("crl", await self._publications.crl(match[1], int(match[2] or 0)))
        if match := _CERTIFICATE.fullmatch(path):
            return self._published("certificate", self._publications.certificate(match[1]))
        probe = {"/healthz": _alive, "/readyz": self._readiness, "/metrics": self._exposition}.get(path)
        return probe() if probe else NOT_FOUND

    def _published(self, kind: str, document: Document) -> Document:
        self._metrics.published.labels(kind, str(document.status.value)).inc()
        return document

    def _exposition(self) -> Document:
        return self._metrics.exposition({name: ready for name, (ready, _) in self._parts().items()})

    def _readiness(self) -> Document:
        parts = {name: {"ready": ready, "detail": detail} for name, (ready, detail) in self._parts().items()}
        ready = all(part["ready"] for part in parts.values())
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return _json(status, {"status": "ready" if ready else "not ready", "parts": parts})

    def _parts(self) -> dict[str, tuple[bool, str]]:
        view = self._view
        health = self._health()
        faults = view.directory.faults(self._clock()) if view.directory else ["No CA is known yet."]
        return {
            "database": (view.fault is None, view.fault or "The database answers."),
            "responder": (not faults, " ".join(faults) or "Each issuing CA has a responder."),
            "signer": (health.state is not State.DOWN, health.sentence),
        }

    async def _send(self, document: Document, scope: Scope, send: Send) -> None:
        status, headers = document.status, document.headers(self._clock())
        body = b"" if scope["method"] == "HEAD" else document.body
        if document.etag and scope["method"] != "POST" and _has(scope, document.etag):
            status, body = HTTPStatus.NOT_MODIFIED, b""
            headers = [header for header in headers if header[0] not in (b"content-type", b"content-length")]
        await send({"type": "http.response.start", "status": status.value, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await self._view.refresh()
        self._watching = asyncio.create_task(self._watch())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._watching.cancel()
        with suppress(asyncio.CancelledError):
            await self._watching
        await send({"type": "lifespan.shutdown.complete"})

    async def _watch(self) -> None:
        """Keeps the view true, and says so when a part goes away or comes back."""
        before: dict[str, tuple[bool, str]] = {}
        while True:
            now = self._parts()
            for name, (ready, detail) in now.items():
                if before.get(name, (True, ""))[0] != ready:
                    _log.warning("part changed", part=name, ready=ready, detail=detail)
            before = now
            await asyncio.sleep(self._view.pause)
            await self._view.refresh()


async def _body(receive: Receive) -> bytes:
    """The request's body, or as much of it as shows that it is too long; empty from one who went away."""
    body = b""
    while len(body) <= MAX_OCTETS:
        message = await receive()
        if message["type"] != "http.request":
            return b""
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return body


def _has(scope: Scope, etag: bytes) -> bool:
    """Whether the client holds these very bytes already (RFC 9110 13.1.2)."""
    held = b",".join(value for name, value in scope["headers"] if name == b"if-none-match")
    return etag in held


def _not_allowed(methods: str) -> Document:
    return problem(
        HTTPStatus.METHOD_NOT_ALLOWED,
        Reason.METHOD_NOT_ALLOWED,
        f"Here one may {methods}.",
        (b"allow", methods.encode()),
    )


def _alive() -> Document:
    return _json(HTTPStatus.OK, {"status": "ok"})


def _json(status: HTTPStatus, value: object) -> Document:
    return Document(json.dumps(value).encode(), "application/json", status=status)
