"""`POST /v1/certificates`, `.../renew` and `.../delegate`: the busiest door, so it stands before the framework's.

The framework's layers and its reading of a route's signature cost more than the certificate's draft and
lint; what these endpoints need of them, one body and four headers, is read here. `ca.web.applications` has the bodies.
"""

from __future__ import annotations

from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.responses import Response

from ca.authority import desk
from ca.authority.authority import Authority
from ca.authority.claims import Application, ByAttestation, ByCertificate, ByToken, Claim, Delegation, Renewal
from ca.identifiers import Thumbprint
from ca.pki import csr
from ca.pki.csr import CertificateRequest
from ca.proofs import token
from ca.proofs.providers import Builtin, Providers
from ca.refusals import Reason, Refused
from ca.web import applications, issued, problems
from ca.web.limits import whole
from ca.web.peer import Application as Asgi
from ca.web.peer import Receive, Scope, Send, peer_thumbprint

PATH = "/v1/certificates"
RENEW, DELEGATE = f"{PATH}/renew", f"{PATH}/delegate"

_MAX_IDEMPOTENCY_KEY = 255


class Door:
    """The outermost ASGI application: it answers these itself and passes everything else on."""

    def __init__(self, app: Asgi, authority: Authority, providers: Providers) -> None:
        self._app = app
        self._authority = authority
        self._providers = providers
        self._acts = {PATH: self._enrol, RENEW: self._renew, DELEGATE: self._delegate}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refusals and faults become problems here as they do behind."""
        act = self._acts.get(scope["path"]) if scope["type"] == "http" else None
        if act is None or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        response: Response
        try:
            body = await whole(scope, receive)
            response = await act(scope, Headers(scope=scope), body)
        except Refused as refusal:
            response = problems.of_refusal(refusal)
        except RequestValidationError as error:
            response = problems.of_invalid(error)
        except Exception as error:  # noqa: BLE001 (border: whatever it is, the caller gets a problem and no trace)
            response = await problems.of_fault(self._authority, scope, error)
        await response(scope, receive, send)

    async def _enrol(self, scope: Scope, headers: Headers, body: bytes) -> Response:
        presented = _presented(scope, headers, self._providers)
        raw, asked = applications.enrolment(headers.get("content-type", ""), body)
        request = self._proven(raw)
        claim = await claim_of(self._authority, self._providers, presented, request)
        return await self._issue(headers, Application(claim, request, asked, _idempotency_key(headers)))

    async def _renew(self, scope: Scope, headers: Headers, body: bytes) -> Response:
        claim = Renewal(own_certificate(scope))
        raw, asked = applications.renewal(headers.get("content-type", ""), body)
        return await self._issue(headers, Application(claim, self._proven(raw), asked, _idempotency_key(headers)))

    async def _delegate(self, scope: Scope, headers: Headers, body: bytes) -> Response:
        parent = own_certificate(scope)
        raw, asked, child = applications.delegation(headers.get("content-type", ""), body)
        claim = Delegation(parent, child, self._authority.random(5))
        return await self._issue(headers, Application(claim, self._proven(raw), asked, _idempotency_key(headers)))

    def _proven(self, raw: bytes) -> CertificateRequest:
        # Before the proof of possession, which costs most: an overloaded authority says so cheaply.
        self._authority.line.check_room()
        return csr.parse(raw)

    async def _issue(self, headers: Headers, application: Application) -> Response:
        return issued.answer(self._authority, headers, await desk.apply(self._authority, application))


Presented = str | Thumbprint
"""What somebody shows to be enrolled: a token or a JWT, or the SHA-256 of a client certificate."""


def own_certificate(scope: Scope) -> Thumbprint:
    """The caller's client certificate, which the handshake verified. Raises `Refused(UNAUTHENTICATED)` without one."""
    thumbprint = peer_thumbprint(scope)
    if thumbprint is None:
        raise Refused(Reason.UNAUTHENTICATED, "This needs a live client certificate of an agent of this authority.")
    return thumbprint


async def claim_of(
    authority: Authority, providers: Providers, presented: Presented, request: CertificateRequest
) -> Claim:
    """What is shown, as a claim; what somebody else signed is verified here. Raises `Refused`."""
    if isinstance(presented, Thumbprint):
        return ByCertificate(presented)
    if presented.startswith(token.PREFIX):
        return ByToken(token.hash_of(presented))
    return ByAttestation(await providers.attest(presented, request.public_key, authority.clock()))


def _presented(scope: Scope, headers: Headers, providers: Providers) -> Presented:
    """Refuses what no provider is enabled for, before anything else is looked at."""
    authorization = headers.get("authorization")
    if authorization is None and (thumbprint := peer_thumbprint(scope)) is not None:
        providers.admit(Builtin.CERTIFICATE)
        return thumbprint
    return recognised(_bearer(authorization), providers)


def recognised(credential: str, providers: Providers) -> str:
    """The credential, where there is an enabled provider for it. Raises `Refused(TOKEN_INVALID)`."""
    if credential.startswith(token.PREFIX):
        providers.admit(Builtin.TOKEN)
        token.hash_of(credential)
    elif credential.count(".") == 2:
        providers.recognise(credential)
    else:
        raise token.refused()
    return credential


def _bearer(authorization: str | None) -> str:
    scheme, _, credential = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not credential:
        raise Refused(
            Reason.UNAUTHENTICATED,
            "Send the enrolment token or another proof of identity as 'Authorization: Bearer <token>'.",
        )
    return credential.strip()


def _idempotency_key(headers: Headers) -> str | None:
    """A string of 1 to 255 printable characters, in quotes as RFC 8941 3.3.3 writes it, or bare as many send it."""
    header = headers.get("idempotency-key")
    if header is None:
        return None
    key = header[1:-1] if len(header) > 1 and header[0] == header[-1] == '"' else header
    if not 1 <= len(key) <= _MAX_IDEMPOTENCY_KEY or not key.isascii() or not key.isprintable():
        raise Refused(Reason.MALFORMED, "An Idempotency-Key has 1 to 255 printable ASCII characters.")
    return key
