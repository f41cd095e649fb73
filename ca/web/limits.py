"""The size of a request body: read whole, up to 64 KiB, before the application sees any of it."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from ca.refusals import Reason, Refused
from ca.web.peer import Application, Receive, Scope, Send
from ca.web.problems import Problem

MAX_BODY_OCTETS = 64 * 1024


class BodyLimit:
    """ASGI middleware: 413 beyond the limit, whether the length was declared or not."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Buffers the body, so that the routes get it in one piece."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        try:
            body = await whole(scope, receive)
        except Refused as refusal:
            await Problem(refusal.reason, refusal.detail)(scope, receive, send)
            return
        message: MutableMapping[str, Any] = {"type": "http.request", "body": body, "more_body": False}
        messages = [message]

        async def replay() -> MutableMapping[str, Any]:
            return messages.pop() if messages else await receive()

        await self._app(scope, replay, send)


async def whole(scope: Scope, receive: Receive) -> bytes:
    """The body. Raises `Refused(TOO_LARGE)`."""
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if declared.isdigit() and int(declared) > MAX_BODY_OCTETS:
        raise _too_large()
    parts, size = [], 0
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY_OCTETS:
            raise _too_large()
        if not message.get("more_body"):
            return b"".join(parts)


def _too_large() -> Refused:
    return Refused(Reason.TOO_LARGE, f"A request body has at most {MAX_BODY_OCTETS} octets.")
