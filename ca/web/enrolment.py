"""`POST /v1/certificates`: the busiest door, so it stands before the framework's, and describes itself.

The framework's layers and its reading of a route's signature cost more than the certificate's draft and
lint; what this endpoint needs of them, one body and four headers, is read here.
"""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime
from functools import lru_cache
from random import SystemRandom
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from fastapi.exceptions import RequestValidationError
from pydantic import Field, ValidationError
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse, Response

from ca.authority import enrol
from ca.authority.authority import Authority
from ca.authority.enrol import Enrolment
from ca.authority.issuance import Issued
from ca.identifiers import AgentId, SpiffeId, TaskId
from ca.pki import csr
from ca.pki.certificate import Issuer
from ca.pki.profile import Kind
from ca.policy.ceiling import Asked
from ca.policy.scope import Scope as ScopeSet
from ca.proofs import token
from ca.refusals import Reason, Refused
from ca.store.certificates import Intent
from ca.web import problems
from ca.web.bodies import Body, Time, rfc3339
from ca.web.limits import whole
from ca.web.peer import Application, Receive, Scope, Send

PATH = "/v1/certificates"
PEM_CHAIN = "application/pem-certificate-chain"  # RFC 8555 9.1
PKCS10 = "application/pkcs10"  # RFC 5967

_PEM_COLUMNS = 64  # RFC 7468 2
_MAX_IDEMPOTENCY_KEY = 255
_JITTER = SystemRandom()
_NO_STORE = {"Cache-Control": "no-store"}


class EnrolmentBody(Body):
    """What an agent sends."""

    csr: str = Field(description="PKCS #10 in PEM, or base64 of its DER.", max_length=16384)
    task: str | None = Field(None, description="The task that the token was made for.")
    scope: str | None = Field(None, description="A narrower scope than the task's (RFC 6749 3.3).")
    not_after: Time | None = Field(None, description="An earlier end than policy gives.")


class Door:
    """The outermost ASGI application: it answers enrolments itself and passes everything else on."""

    def __init__(self, app: Application, authority: Authority) -> None:
        self._app = app
        self._authority = authority

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refusals and faults become problems here as they do behind."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        response: Response
        try:
            body = await whole(scope, receive)
            response = await _enrol(self._authority, Headers(scope=scope), body)
        except Refused as refusal:
            response = problems.of_refusal(refusal)
        except RequestValidationError as error:
            response = problems.of_invalid(error)
        except Exception as error:  # noqa: BLE001 (border: whatever it is, the caller gets a problem and no trace)
            response = await problems.of_fault(self._authority, scope, error)
        await response(scope, receive, send)


async def _enrol(authority: Authority, headers: Headers, body: bytes) -> Response:
    presented = token.hash_of(_bearer(headers.get("authorization")))
    idempotency_key = _idempotency_key(headers.get("idempotency-key"))
    raw, asked = _read(headers.get("content-type", ""), body)
    # Before the proof of possession, which costs most: an overloaded authority says so cheaply.
    authority.line.check_room()
    issued = await enrol.enrol(authority, Enrolment(presented, csr.parse(raw), asked, idempotency_key))
    leaf = pem(issued.der)
    chain = leaf + issuer_pem(authority.issuer)
    if PEM_CHAIN in headers.get("accept", ""):
        return PlainTextResponse(chain, 201, _NO_STORE, media_type=PEM_CHAIN)
    return JSONResponse(_answer(authority, issued, leaf, chain), 201, _NO_STORE)


def pem(der: bytes) -> str:
    """A certificate in PEM (RFC 7468)."""
    text = b64encode(der).decode()
    lines = "\n".join(text[start : start + _PEM_COLUMNS] for start in range(0, len(text), _PEM_COLUMNS))
    return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"


@lru_cache(maxsize=8)
def issuer_pem(issuer: Issuer) -> str:
    """The issuing CA's certificate in PEM, the second of every chain."""
    return pem(issuer.certificate.public_bytes(Encoding.DER))


def spiffe_id(authority: Authority, intent: Intent) -> str | None:
    """The URI that an agent's certificate names it by; None for what is not an agent's."""
    if intent.kind is not Kind.AGENT or intent.tenant is None:
        return None
    return SpiffeId.agent(authority.names.trust_domain, intent.tenant, AgentId(intent.holder)).uri


def _read(content_type: str, raw: bytes) -> tuple[bytes, Asked]:
    """The CSR as it was sent, and what was asked for beside it."""
    match content_type.partition(";")[0].strip().lower():
        case "application/json":
            body = _parsed(raw)
            return body.csr.encode(), Asked(
                task=TaskId(body.task) if body.task is not None else None,
                scope=ScopeSet.parse(body.scope) if body.scope is not None else None,
                not_after=body.not_after,
            )
        case "application/pkcs10":
            return raw, Asked()
        case _:
            raise Refused(Reason.UNSUPPORTED_MEDIA_TYPE, f"Send application/json or {PKCS10}.")


def _parsed(raw: bytes) -> EnrolmentBody:
    try:
        return EnrolmentBody.model_validate_json(raw)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_input=False, include_url=False)) from None


def _bearer(authorization: str | None) -> str:
    scheme, _, credential = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not credential:
        raise Refused(Reason.UNAUTHENTICATED, "Send the enrolment token as 'Authorization: Bearer <token>'.")
    return credential.strip()


def _idempotency_key(header: str | None) -> str | None:
    """A string of 1 to 255 printable characters, in quotes as RFC 8941 3.3.3 writes it, or bare as many send it."""
    if header is None:
        return None
    key = header[1:-1] if len(header) > 1 and header[0] == header[-1] == '"' else header
    if not 1 <= len(key) <= _MAX_IDEMPOTENCY_KEY or not key.isascii() or not key.isprintable():
        raise Refused(Reason.MALFORMED, "An Idempotency-Key has 1 to 255 printable ASCII characters.")
    return key


def _answer(authority: Authority, issued: Issued, leaf: str, chain: str) -> dict[str, Any]:
    intent = issued.intent
    return {
        "serial": str(intent.serial),
        "certificate": leaf,
        "chain": chain,
        "not_before": rfc3339(intent.not_before),
        "not_after": rfc3339(intent.not_after),
        "renew_after": rfc3339(_renew_after(intent)),
        "x5t#S256": issued.x5t.base64url,
        "spiffe_id": spiffe_id(authority, intent),
        # What an authorization server knows the agent by, whatever certificate it holds today.
        "client_id": f"{authority.public_url}/clients/{intent.tenant}/{intent.holder}",
        "task": intent.task,
    }


def _renew_after(intent: Intent) -> datetime:
    """Half of the life, give or take a tenth of it, so that what was issued together is not renewed together."""
    life = intent.not_after - intent.created_at
    return intent.created_at + life * (0.4 + 0.2 * _JITTER.random())


def _header(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": {"type": "string"}}


OPERATION: dict[str, Any] = {
    "tags": ["certificates"],
    "summary": "Enrol Agent",
    "description": "One certificate for one enrolment token and a CSR; the same again for the same `Idempotency-Key`.",
    "operationId": "enrol_agent_v1_certificates_post",
    "parameters": [
        _header("Authorization", "`Bearer` and the enrolment token."),
        _header("Idempotency-Key", "Sent again with the same request, it gets the same certificate."),
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": EnrolmentBody.model_json_schema()},
            PKCS10: {"schema": {"type": "string", "format": "binary"}},
        },
    },
    "responses": {
        "201": {
            "description": "The certificate.",
            "content": {"application/json": {"schema": {"type": "object"}}, PEM_CHAIN: {"schema": {"type": "string"}}},
        }
    },
}
"""The endpoint in OpenAPI 3.1, for the document that FastAPI makes of all others."""
