"""The client certificate of a TLS connection, made visible to the application.

No released ASGI server passes it on, so one subclass of uvicorn's protocol fills the ASGI TLS
extension with the leaf that the handshake verified.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from ca.identifiers import Thumbprint
from ca.listening import PatientProtocol

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class PeerProtocol(PatientProtocol):
    """The HTTP protocol, with the peer's certificate in every request's scope."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn narrows it
        """Reads the certificate once a connection: renegotiation does not exist in TLS 1.3 and is off in 1.2."""
        super().connection_made(transport)
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True) if tls is not None else None
        if der is not None:
            self.app = _with_peer(self.app, ssl.DER_cert_to_PEM_cert(der))


def _with_peer(app: Any, pem: str) -> Application:
    async def with_peer(scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("extensions", {})["tls"] = {"client_cert_chain": [pem]}
        await app(scope, receive, send)

    return with_peer


def peer_thumbprint(scope: Scope) -> Thumbprint | None:
    """SHA-256 of the client certificate that the handshake verified, or None without one."""
    chain = scope.get("extensions", {}).get("tls", {}).get("client_cert_chain")
    if not chain:
        return None
    return Thumbprint.of(ssl.PEM_cert_to_DER_cert(chain[0]))
