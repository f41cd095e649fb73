"""Raw ASGI: routes, bodies and headers. Nothing here decides what is said of a certificate."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus
from typing import Any

import structlog

from ca.refusals import Reason
from ocsp import conditions
from ocsp.cache import Cache
from ocsp.conditions import Selected
from ocsp.document import INTERNAL_ERROR, MALFORMED, TOO_LARGE, Document, away, problem
from ocsp.metrics import Metrics
from ocsp.probes import Part, Probes
from ocsp.publications import NOT_FOUND, Publications
from ocsp.request import MAX_OCTETS
from ocsp.responder import Responder
from ocsp.spelling import MAX_CHARACTERS, kept_spellings, spellings
from ocsp.view import View

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_OCSP = "/ocsp/"
_CRL = re.compile(r"/crl/([a-z0-9._-]{1,63})(?:/([1-9][0-9]{0,3}|delta))?\.crl")
_BUNDLE = "/crl/bundle.pem"
_CERTIFICATE = re.compile(r"/ca/([a-z0-9._-]{1,63})\.cer")

_log = structlog.get_logger("ocsp")


_SLICE = 1 << 18  # octets
_KEPT_CHARACTERS = 512  # of a text that is asked again; those of one certificate have a third of that


class App:
    """The ASGI application."""

    def __init__(
        self,
        *,
        view: View,
        cache: Cache,
        responder: Responder,
        publications: Publications,
        metrics: Metrics,
        probes: Probes,
        clock: Callable[[], datetime],
    ) -> None:
        self._view = view
        self._cache = cache
        self._responder = responder
        self._publications = publications
        self._metrics = metrics
        self._probes = probes
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
        status, headers, body = self._selected(document, scope, is_ocsp)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await _send_body(send, body)

    def _selected(self, document: Document, scope: Scope, is_ocsp: bool) -> Selected:
        method, fields, now = scope["method"], scope["headers"], self._clock()
        if method == "POST":
            return conditions.whole(document, now)
        if method == "GET" and not is_ocsp:
            return conditions.in_part(document, fields, now)
        selected = conditions.unless_held(document, fields, now)
        return selected._replace(body=b"") if method == "HEAD" else selected

    async def _ocsp(self, scope: Scope, receive: Receive) -> Document:
        if scope["method"] == "POST":
            body = await _body(receive)
            if len(body) > MAX_OCTETS:
                return self._refused(TOO_LARGE, "too_large")
            asked: Sequence[bytes] = [body]
        elif scope["method"] in ("GET", "HEAD"):
            text: bytes = scope["raw_path"][len(_OCSP) :]
            if len(text) > MAX_CHARACTERS:
                return self._refused(TOO_LARGE, "too_large")
            asked = (kept_spellings if len(text) <= _KEPT_CHARACTERS else spellings)(text)
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
            return self._published("crl", await self._publications.crl(match[1], _number(match[2])))
        if path == _BUNDLE:
            return self._published("bundle", await self._publications.bundle())
        if match := _CERTIFICATE.fullmatch(path):
            return self._published("certificate", self._publications.certificate(match[1]))
        probes = self._probes
        probe = {"/healthz": probes.alive, "/readyz": probes.readiness, "/metrics": probes.exposition}.get(path)
        return probe() if probe else NOT_FOUND

    def _published(self, kind: str, document: Document) -> Document:
        self._metrics.published.labels(kind, str(document.status.value)).inc()
        return document

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
        before: dict[str, Part] = {}
        while True:
            now = self._probes.parts()
            for name, (ready, detail) in now.items():
                if before.get(name, (True, ""))[0] != ready:
                    _log.warning("part changed", part=name, ready=ready, detail=detail)
            before = now
            await self._view.change()
            await self._view.refresh()


async def _send_body(send: Send, body: bytes | memoryview) -> None:
    """In slices: the server gives a reader so much time for each, and holds no second copy of a list of 40 MB."""
    view = memoryview(body)
    for at in range(0, len(body) - _SLICE, _SLICE):
        await send({"type": "http.response.body", "body": view[at : at + _SLICE], "more_body": True})
    rest = body if len(body) <= _SLICE else view[(len(body) - 1) // _SLICE * _SLICE :]
    await send({"type": "http.response.body", "body": rest})


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


def _number(name: str | None) -> int:
    """Of a list, by what its URL says."""
    match name:
        case None:
            return 0
        case "delta":
            return -1
        case number:
            return int(number)


def _not_allowed(methods: str) -> Document:
    return problem(
        HTTPStatus.METHOD_NOT_ALLOWED,
        Reason.METHOD_NOT_ALLOWED,
        f"Here one may {methods}.",
        (b"allow", methods.encode()),
    )
