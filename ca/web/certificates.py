"""`/v1/certificates`: enrolment, search, and the revocation of one; `/v1/revocations`: of many."""

from __future__ import annotations

from datetime import datetime
from random import SystemRandom
from typing import Annotated, Any, Literal

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import Field, ValidationError

from ca.authority import enrol, revoke
from ca.authority.authority import Authority
from ca.authority.enrol import Enrolment
from ca.authority.issuance import Issued
from ca.identifiers import AgentId, Serial, SpiffeId, TaskId
from ca.pki import csr
from ca.pki.extensions import AgentTask, task_oid
from ca.pki.profile import Kind
from ca.policy.ceiling import Asked
from ca.policy.scope import Scope
from ca.proofs import token
from ca.refusals import Reason, Refused
from ca.store import certificates
from ca.store.certificates import CertificateRecord, Filter, Intent, Standing
from ca.web.bodies import Body, Limit, Time, page, rfc3339, tenant_id
from ca.web.callers import Act, AnyCaller, Caller, Reader, Revoker, TheAuthority

PEM_CHAIN = "application/pem-certificate-chain"  # RFC 8555 9.1
PKCS10 = "application/pkcs10"  # RFC 5967

_JITTER = SystemRandom()

router = APIRouter(tags=["certificates"])


class EnrolmentBody(Body):
    """What an agent sends."""

    csr: str = Field(description="PKCS #10 in PEM, or base64 of its DER.", max_length=16384)
    task: str | None = Field(None, description="The task that the token was made for.")
    scope: str | None = Field(None, description="A narrower scope than the task's (RFC 6749 3.3).")
    not_after: Time | None = Field(None, description="An earlier end than policy gives.")


class RevocationBody(Body):
    """Why one certificate is revoked."""

    reason: str = Field("unspecified", description="An RFC 5280 reason name.")


class RevocationsBody(Body):
    """Which certificates are revoked, and why."""

    agent: str | None = None
    task: str | None = None
    tenant: str | None = None
    reason: str = "unspecified"
    dry_run: bool = False


@router.post("/v1/certificates", status_code=201)
async def enrol_agent(
    request: Request,
    authority: TheAuthority,
    authorization: Annotated[str | None, Header()] = None,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> Response:
    """One certificate for one enrolment token and a CSR; the same one again for the same `Idempotency-Key`."""
    presented = token.hash_of(_bearer(authorization))
    raw, asked = await _request(request)
    # Before the proof of possession, which costs most: an overloaded authority says so cheaply.
    authority.line.check_room()
    issued = await enrol.enrol(authority, Enrolment(presented, csr.parse(raw), asked, idempotency_key))
    chain = pem(issued.der) + authority.issuer.certificate.public_bytes(Encoding.PEM).decode()
    if PEM_CHAIN in request.headers.get("accept", ""):
        return PlainTextResponse(chain, 201, {"Cache-Control": "no-store"}, media_type=PEM_CHAIN)
    return JSONResponse(_answer(authority, issued, chain), 201, {"Cache-Control": "no-store"})


@router.get("/v1/certificates")
def search(
    authority: TheAuthority,
    _caller: Reader,
    agent: str | None = None,
    task: str | None = None,
    tenant: str | None = None,
    state: Literal["live", "revoked", "expired"] | None = None,
    expires_before: Time | None = None,
    cursor: Annotated[int | None, Query(ge=1)] = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """Certificates, newest first."""
    wanted = Filter(
        tenant=None if tenant is agent is task is None else tenant_id(tenant),
        kind=None if agent is None else Kind.AGENT,
        holder=None if agent is None else AgentId(agent),
        task=None if task is None else TaskId(task),
        state=state,
        expires_before=expires_before,
    )
    now = authority.clock()
    with authority.database.read() as connection:
        records = certificates.page(connection, wanted, now, before=cursor, limit=limit + 1)
    items = [describe(authority, record, now) for record in records]
    return page(items, limit, str(records[limit - 1].id) if len(records) > limit else "")


@router.get("/v1/certificates/{serial}")
def show(request: Request, authority: TheAuthority, _caller: Reader, serial: str) -> Response:
    """One certificate; PEM by `Accept`."""
    with authority.database.read() as connection:
        record = certificates.by_serial(connection, Serial.parse(serial))
    if record is None:
        raise revoke.unknown()
    chain = pem(record.der) + authority.issuer.certificate.public_bytes(Encoding.PEM).decode()
    if PEM_CHAIN in request.headers.get("accept", ""):
        return PlainTextResponse(chain, media_type=PEM_CHAIN)
    described = describe(authority, record, authority.clock()) | _task(authority, record)
    return JSONResponse({**described, "certificate": pem(record.der), "chain": chain})


@router.post("/v1/certificates/{serial}/revoke")
def revoke_one(
    request: Request, authority: TheAuthority, who: AnyCaller, serial: str, body: RevocationBody
) -> dict[str, Any]:
    """Revokes one certificate: an operator any, an agent its own."""
    parsed = Serial.parse(serial)
    _check_may_revoke(authority, who, parsed)
    record = revoke.revoke_serial(authority, parsed, revoke.reason_of(body.reason), who.name)
    request.app.state.wake_publisher()
    return describe(authority, record, authority.clock())


@router.post("/v1/revocations")
def revoke_many(request: Request, authority: TheAuthority, who: Revoker, body: RevocationsBody) -> dict[str, Any]:
    """Revokes every live certificate of an agent or a task in one transaction, or says which it would be."""
    if (body.agent is None) == (body.task is None):
        raise Refused(Reason.MALFORMED, "Name exactly one of agent and task.")
    wanted = Filter(
        tenant=tenant_id(body.tenant),
        kind=Kind.AGENT,
        holder=None if body.agent is None else AgentId(body.agent),
        task=None if body.task is None else TaskId(body.task),
    )
    reason = revoke.reason_of(body.reason)
    revoked = revoke.revoke_many(authority, wanted, reason, who.name, dry_run=body.dry_run)
    if not body.dry_run:
        request.app.state.wake_publisher()
    serials = [str(record.intent.serial) for record in revoked.certificates]
    return {"dry_run": body.dry_run, "count": len(serials), "serials": serials, "reason": reason.value}


def describe(authority: Authority, record: Standing, now: datetime) -> dict[str, Any]:
    """A certificate as a list shows it."""
    intent = record.intent
    return {
        "serial": str(intent.serial),
        "issuer": intent.issuer,
        "kind": intent.kind.value,
        "state": record.state(now),
        "tenant": intent.tenant,
        "agent": intent.holder if intent.kind is Kind.AGENT else None,
        "holder": intent.holder,
        "task": intent.task,
        "not_before": rfc3339(intent.not_before),
        "not_after": rfc3339(intent.not_after),
        "spiffe_id": _spiffe_id(authority, intent),
        "x5t#S256": record.x5t.base64url if isinstance(record, CertificateRecord) else None,
        "revoked_at": rfc3339(record.revoked_at),
        "reason": record.reason,
    }


def _task(authority: Authority, record: CertificateRecord) -> dict[str, Any]:
    """What the task extension says, as it was certified: the registry may have changed since."""
    oid = task_oid(authority.names.oid_arc)
    extensions = load_der_x509_certificate(record.der).extensions
    value = next((extension.value.value for extension in extensions if extension.oid == oid), None)
    task = None if value is None else AgentTask.decode(value)
    return {
        "scope": task.scope if task else None,
        "resources": list(task.resources) if task else [],
        "deadline": rfc3339(task.deadline) if task else None,
    }


def pem(der: bytes) -> str:
    """A certificate in PEM."""
    return load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()


async def _request(request: Request) -> tuple[bytes, Asked]:
    """The CSR as it was sent, and what was asked for beside it."""
    raw = await request.body()
    match request.headers.get("content-type", "").partition(";")[0].strip().lower():
        case "application/json":
            body = _parsed(raw)
            return body.csr.encode(), Asked(
                task=TaskId(body.task) if body.task is not None else None,
                scope=Scope.parse(body.scope) if body.scope is not None else None,
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


def _answer(authority: Authority, issued: Issued, chain: str) -> dict[str, Any]:
    intent = issued.intent
    return {
        "serial": str(intent.serial),
        "certificate": pem(issued.der),
        "chain": chain,
        "not_before": rfc3339(intent.not_before),
        "not_after": rfc3339(intent.not_after),
        "renew_after": rfc3339(_renew_after(intent)),
        "x5t#S256": issued.x5t.base64url,
        "spiffe_id": _spiffe_id(authority, intent),
        # What an authorization server knows the agent by, whatever certificate it holds today.
        "client_id": f"{authority.public_url}/clients/{intent.tenant}/{intent.holder}",
        "task": intent.task,
    }


def _renew_after(intent: Intent) -> datetime:
    """Half of the life, give or take a tenth of it, so that what was issued together is not renewed together."""
    life = intent.not_after - intent.created_at
    return intent.created_at + life * (0.4 + 0.2 * _JITTER.random())


def _spiffe_id(authority: Authority, intent: Intent) -> str | None:
    if intent.kind is not Kind.AGENT or intent.tenant is None:
        return None
    return SpiffeId.agent(authority.names.trust_domain, intent.tenant, AgentId(intent.holder)).uri


def _check_may_revoke(authority: Authority, who: Caller, serial: Serial) -> None:
    """An agent may revoke its own; whether another's exists it does not learn."""
    if who.agent is None:
        who.require(Act.REVOKE)
        return
    with authority.database.read() as connection:
        record = certificates.standing(connection, serial)
    if record is None or (record.intent.tenant, record.intent.holder) != (who.tenant, who.agent):
        raise revoke.unknown()
