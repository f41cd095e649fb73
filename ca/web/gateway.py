"""`ANY /v1/as/authz[/...]`: what nginx, Envoy, Caddy and HAProxy ask before they pass a request on.

Served on a listener of its own: whoever reaches it names any certificate that they like in a header. Proxies differ in
what they make of other statuses, and agree on these: 200, 401, 403.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog

from ca.hook import headers
from ca.hook.gate import Barred, Fault, Gate, Passed
from ca.hook.headers import Form
from ca.hook.inquiry import OfThumbprint
from ca.policy.calls import Call
from ca.refusals import Refused
from ca.web.peer import Receive, Scope, Send

PATH = "/v1/as/authz"
_RETRY_SECONDS = "1"

_log = structlog.get_logger("remit.gateway")


@dataclass(frozen=True, slots=True)
class Shown:
    """In which header the certificate stands, in lower case, and how it is written there."""

    header: bytes
    form: Form


class Gateway:
    """The ASGI application. The body is never read; the method and the rest of the path say nothing."""

    def __init__(self, gate: Gate, shown: Shown, resource: str | None) -> None:
        self._gate = gate
        self._shown = shown
        self._challenge = _challenge(resource)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One question. Whatever goes wrong, the answer is no."""
        if scope["type"] != "http":
            return
        try:
            verdict = await self._verdict(scope)
        except Refused:
            verdict = Barred(Fault.UNDECIDED)
        except Exception as error:  # noqa: BLE001 (border: a proxy that gets no answer may be told to go on)
            _log.error("undecided", error=type(error).__name__, exc_info=error)
            verdict = Barred(Fault.UNDECIDED)
        status, said = self._said(verdict)
        fields = {"Cache-Control": "no-store", "Content-Length": "0", **said}
        lines = [(name.lower().encode(), text.encode()) for name, text in fields.items()]
        await send({"type": "http.response.start", "status": status, "headers": lines})
        await send({"type": "http.response.body", "body": b""})

    async def _verdict(self, scope: Scope) -> Passed | Barred:
        if not f"{scope['path']}/".startswith(f"{PATH}/"):
            return Barred(Fault.PATH)
        about = self._certificate(scope["headers"])
        if isinstance(about, Fault):
            return Barred(about)
        try:
            call = Call(_word(scope["headers"], b"mcp-method"), _word(scope["headers"], b"mcp-name"))
        except Refused:
            return Barred(Fault.CALL_MALFORMED)
        return await self._gate.ask(about, call)

    def _certificate(self, fields: Sequence[tuple[bytes, bytes]]) -> OfThumbprint | Fault:
        values = _values(fields, self._shown.header)
        if not any(values):
            return Fault.MISSING
        try:
            # Of two, one is not our proxy's, and nobody can tell which.
            return headers.certificate(self._shown.form, values[0]) if len(values) == 1 else Fault.MALFORMED
        except Refused:
            return Fault.MALFORMED

    def _said(self, verdict: Passed | Barred) -> tuple[int, dict[str, str]]:
        if isinstance(verdict, Passed):
            return 200, verdict.headers
        said = {"X-Agent-Error": verdict.why.value}
        if verdict.is_unproven:
            return 401, {**said, "WWW-Authenticate": self._challenge}
        return 403, {**said, "Retry-After": _RETRY_SECONDS} if verdict.why is Fault.UNDECIDED else said


def _values(fields: Sequence[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for field, value in fields if field == name]


def _word(fields: Sequence[tuple[bytes, bytes]], name: bytes) -> str | None:
    """None where the call does not say. Raises `Refused(MALFORMED)`, also for two: the server may take the other."""
    values = _values(fields, name)
    return headers.word(b"\n".join(values)) if values else None


def _challenge(resource: str | None) -> str:
    """RFC 6750 3, with where the resource says how it is reached (RFC 9728 3.1, 5.1)."""
    if resource is None:
        return 'Bearer error="invalid_token"'
    parts = urlsplit(resource)
    rest = (parts.path if parts.path != "/" else "") + (f"?{parts.query}" if parts.query else "")
    metadata = f"{parts.scheme}://{parts.netloc}/.well-known/oauth-protected-resource{rest}"
    return f'Bearer error="invalid_token", resource_metadata="{metadata}"'
