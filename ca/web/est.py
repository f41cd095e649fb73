"""EST (RFC 7030, clarified by RFC 8951): the first certificate and its renewal for clients that exist already.

Another spelling of `/v1/certificates` and no other way in: the same acts, the same checks, other bytes
around them. Refusals are sentences in plain text, because that is what these clients show (RFC 8951 5.1).
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response

from ca.authority import desk
from ca.authority.authority import Authority
from ca.authority.claims import Application, Renewal
from ca.authority.issuance import Issued
from ca.identifiers import AgentId
from ca.pki import csr
from ca.pki.csr import CertificateRequest
from ca.policy.ceiling import Asked
from ca.proofs import token
from ca.proofs.providers import Builtin, Providers
from ca.refusals import Reason, Refused
from ca.web import problems
from ca.web.applications import PKCS10
from ca.web.enrolment import Presented, claim_of, own_certificate, recognised
from ca.web.limits import whole
from ca.web.peer import Application as Asgi
from ca.web.peer import Receive, Scope, Send, peer_thumbprint
from ca.web.problems import Problem

CACERTS = "/.well-known/est/cacerts"
CSRATTRS = "/.well-known/est/csrattrs"
SIMPLEENROLL = "/.well-known/est/simpleenroll"
SIMPLEREENROLL = "/.well-known/est/simplereenroll"

CERTS_ONLY = "application/pkcs7-mime; smime-type=certs-only"
CHALLENGE = 'Basic realm="remit"'
"""Sent to who shows nothing: many clients keep their password until they are asked (RFC 7030 3.2.3)."""

_KEPT = ("Cache-Control", "Retry-After", "WWW-Authenticate")


@dataclass(frozen=True, slots=True)
class _Call:
    """One request, as far as these operations look at it."""

    authority: Authority
    providers: Providers
    scope: Scope
    headers: Headers
    body: bytes


class Est:
    """An ASGI application: it answers the operations of EST and passes everything else on."""

    def __init__(self, app: Asgi, authority: Authority, providers: Providers) -> None:
        self._app = app
        self._authority = authority
        self._providers = providers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refusals and faults are the API's own, in words."""
        operation = _OPERATIONS.get(scope["path"]) if scope["type"] == "http" else None
        if operation is None:
            await self._app(scope, receive, send)
            return
        response: Response
        try:
            response = await self._answer(*operation, scope, receive)
        except Refused as refusal:
            response = _in_words(problems.of_refusal(refusal), scope)
        except Exception as error:  # noqa: BLE001 (border: whatever it is, the caller gets a sentence and no trace)
            response = _in_words(await problems.of_fault(self._authority, scope, error), scope)
        await response(scope, receive, send)

    async def _answer(self, method: str, act: _Act, scope: Scope, receive: Receive) -> Response:
        if scope["method"] != method:
            raise Refused(Reason.METHOD_NOT_ALLOWED, f"This operation takes {method} alone.")
        body = b"" if method == "GET" else await whole(scope, receive)
        return await act(_Call(self._authority, self._providers, scope, Headers(scope=scope), body))


async def _cacerts(call: _Call) -> Response:
    """RFC 7030 4.1.3: the trust anchor, and what it takes to build a chain from an agent's certificate to it."""
    return _certs_only(call.authority.root.certificate, call.authority.issuer.certificate)


async def _csrattrs(_call: _Call) -> Response:
    """RFC 7030 4.5.2: nothing is asked of a request but a key, so there is nothing to say."""
    return Response(status_code=204)


async def _simpleenroll(call: _Call) -> Response:
    """RFC 7030 4.2.1: the first certificate, by whatever proves an agent's identity elsewhere."""
    presented, named = _presented(call)
    request = _request(call)
    claim = await claim_of(call.authority, call.providers, presented, request)
    return _issued(await desk.apply(call.authority, Application(claim, request, Asked(), named=named)))


async def _simplereenroll(call: _Call) -> Response:
    """RFC 7030 4.2.2: the next certificate of the same identity, by the live one of this connection."""
    claim = Renewal(own_certificate(call.scope))
    return _issued(await desk.apply(call.authority, Application(claim, _request(call), Asked())))


def _presented(call: _Call) -> tuple[Presented, AgentId | None]:
    """What proves an identity and whose it is said to be: by HTTP first, else by TLS (RFC 7030 3.2.3, 3.3.2)."""
    authorization = call.headers.get("authorization")
    if authorization is None and (thumbprint := peer_thumbprint(call.scope)) is not None:
        call.providers.admit(Builtin.CERTIFICATE)
        return thumbprint, None
    name, credential = _shown(authorization)
    presented = recognised(credential, call.providers)
    try:
        return presented, AgentId(name) if name else None
    except Refused:
        raise token.refused() from None


def _shown(authorization: str | None) -> tuple[str, str]:
    """The user's name, empty where there is none, and the credential: a password (RFC 7617 2), or a bearer's."""
    scheme, _, credential = (authorization or "").partition(" ")
    match scheme.lower():
        case "bearer":
            return "", credential.strip()
        case "basic":
            try:
                name, _, password = b64decode(credential.strip(), validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                raise Refused(Reason.UNAUTHENTICATED, "HTTP Basic takes base64 of 'name:token' (RFC 7617).") from None
            return name, password
    raise Refused(
        Reason.UNAUTHENTICATED,
        "Send the enrolment token as the password of HTTP Basic, with the agent's id or nothing as the user's name.",
    )


def _request(call: _Call) -> CertificateRequest:
    """The CSR and its proven key; any Content-Transfer-Encoding is ignored (RFC 8951 3)."""
    if call.headers.get("content-type", "").partition(";")[0].strip().lower() != PKCS10:
        raise Refused(Reason.UNSUPPORTED_MEDIA_TYPE, f"Send {PKCS10}: base64 of a PKCS #10 request in DER.")
    # Before the proof of possession, which costs most: an overloaded authority says so cheaply.
    call.authority.line.check_room()
    return csr.parse(call.body)


def _issued(issued: Issued) -> Response:
    """RFC 7030 4.2.3: the issued certificate and no other."""
    return _certs_only(x509.load_der_x509_certificate(issued.der), headers={"Cache-Control": "no-store"})


def _certs_only(*certificates: x509.Certificate, headers: dict[str, str] | None = None) -> Response:
    """RFC 5272 4.1 in one line of base64 that nothing follows, for every client reads that.

    strongSwan reads no second line. The header that RFC 8951 3 took away still tells BouncyCastle that it is base64.
    """
    body = b64encode(serialize_certificates(list(certificates), Encoding.DER))
    kept = {**(headers or {}), "Content-Transfer-Encoding": "base64"}
    return Response(body, 200, kept, media_type=CERTS_ONLY)


def _in_words(problem: Problem, scope: Scope) -> Response:
    """A problem's sentence, or the problem itself for who asks for it."""
    headers = Headers(scope=scope)
    if scope["path"] == SIMPLEENROLL and "WWW-Authenticate" in problem.headers:
        problem.headers["WWW-Authenticate"] = CHALLENGE
    if Problem.media_type in headers.get("accept", ""):
        return problem
    kept = {name: problem.headers[name] for name in _KEPT if name in problem.headers}
    # Who has shown nothing yet is only asked: BouncyCastle stops at a challenge that says more.
    is_asked = CHALLENGE in kept.values() and "authorization" not in headers
    return PlainTextResponse("" if is_asked else f"{problem.detail}\n", problem.status_code, kept)


_Act = Callable[[_Call], Awaitable[Response]]
_OPERATIONS: dict[str, tuple[str, _Act]] = {
    CACERTS: ("GET", _cacerts),
    CSRATTRS: ("GET", _csrattrs),
    SIMPLEENROLL: ("POST", _simpleenroll),
    SIMPLEREENROLL: ("POST", _simplereenroll),
}


def _operation(operation: str, summary: str, description: str, **more: Any) -> dict[str, Any]:
    return {"tags": ["EST"], "summary": summary, "description": description, "operationId": f"est_{operation}", **more}


def _answer(description: str) -> dict[str, Any]:
    return {"200": {"description": description, "content": {CERTS_ONLY: {"schema": _BASE64}}}}


_BASE64 = {"type": "string", "format": "byte"}
_REQUEST = {"required": True, "content": {PKCS10: {"schema": _BASE64}}}

DESCRIPTION: dict[str, dict[str, Any]] = {
    CACERTS: {
        "get": _operation(
            "cacerts", "CA Certificates", "RFC 7030 4.1.", responses=_answer("The root and the issuing CA in PKCS #7.")
        )
    },
    CSRATTRS: {
        "get": _operation(
            "csrattrs",
            "CSR Attributes",
            "RFC 7030 4.5.",
            responses={"204": {"description": "A request needs nothing but a key."}},
        )
    },
    SIMPLEENROLL: {
        "post": _operation(
            "simpleenroll",
            "Enrol Agent",
            "RFC 7030 4.2.1. The enrolment token is the password of HTTP Basic, whose user name is empty or the "
            "agent's id, or it is sent with `Bearer`.",
            requestBody=_REQUEST,
            responses=_answer("The certificate in PKCS #7."),
        )
    },
    SIMPLEREENROLL: {
        "post": _operation(
            "simplereenroll",
            "Renew Certificate",
            "RFC 7030 4.2.2. For the agent whose live client certificate is shown; a CSR's names are its own, or none.",
            requestBody=_REQUEST,
            responses=_answer("The certificate in PKCS #7."),
        )
    },
}
"""The operations in OpenAPI 3.1, for the document that FastAPI makes of all other routes."""
