"""`/v1/certificates`: search, and the revocation of one; enrolment and the revocation of many are next door."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import Field

from ca.authority import hold, revoke
from ca.authority.authority import Authority
from ca.identifiers import AgentId, Serial, TaskId
from ca.pki.extensions import carried
from ca.pki.profile import Kind
from ca.store import certificates
from ca.store.certificates import CertificateRecord, Standing
from ca.store.filters import Filter
from ca.web.bodies import Body, Limit, Time, page, rfc3339, tenant_id
from ca.web.callers import Act, AnyCaller, Caller, Reader, Revoker, TheAuthority
from ca.web.issued import PEM_CHAIN, issuer_pem, pem, spiffe_id

router = APIRouter(tags=["certificates"])


class RevocationBody(Body):
    """Why one certificate is revoked."""

    reason: str = Field("unspecified", description="An RFC 5280 reason name.")


@router.get("/v1/certificates")
def search(
    authority: TheAuthority,
    _caller: Reader,
    agent: str | None = None,
    task: str | None = None,
    tenant: str | None = None,
    state: Literal["live", "held", "revoked", "expired"] | None = None,
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
    chain = pem(record.der) + issuer_pem(authority.issuer)
    if PEM_CHAIN in request.headers.get("accept", ""):
        return PlainTextResponse(chain, media_type=PEM_CHAIN)
    described = describe(authority, record, authority.clock()) | _task(authority, record)
    return JSONResponse({**described, "certificate": pem(record.der), "chain": chain})


@router.post("/v1/certificates/{serial}/revoke")
def revoke_one(
    request: Request, authority: TheAuthority, who: AnyCaller, serial: str, body: RevocationBody
) -> dict[str, Any]:
    """Revokes one certificate: an operator any, an agent its own.

    The reason keyCompromise also blocks its key, and revokes whatever else is live for it.
    """
    parsed = Serial.parse(serial)
    _check_may_revoke(authority, who, parsed)
    record = revoke.revoke_serial(authority, parsed, revoke.reason_of(body.reason), who.name)
    request.app.state.publisher.wake()
    return describe(authority, record, authority.clock())


@router.post("/v1/certificates/{serial}/hold")
def hold_one(request: Request, authority: TheAuthority, who: AnyCaller, serial: str) -> dict[str, Any]:
    """Puts one certificate on hold, as one may revoke it: refused everywhere, until it is released."""
    parsed = Serial.parse(serial)
    _check_may_revoke(authority, who, parsed)
    record = hold.hold(authority, parsed, who.name)
    request.app.state.publisher.wake()
    return describe(authority, record, authority.clock())


@router.post("/v1/certificates/{serial}/release")
def release_one(request: Request, authority: TheAuthority, who: Revoker, serial: str) -> dict[str, Any]:
    """Takes a hold away. Only an operator does: whoever was stopped does not start itself again."""
    record = hold.release(authority, Serial.parse(serial), who.name)
    request.app.state.publisher.wake()
    return describe(authority, record, authority.clock())


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
        "parent": str(intent.parent) if intent.parent else None,
        "not_before": rfc3339(intent.not_before),
        "not_after": rfc3339(intent.not_after),
        "spiffe_id": spiffe_id(authority, intent),
        "x5t#S256": record.x5t.base64url if isinstance(record, CertificateRecord) else None,
        "revoked_at": rfc3339(record.revoked_at),
        "reason": record.reason,
    }


def _task(authority: Authority, record: CertificateRecord) -> dict[str, Any]:
    """What it says of its task and its lineage, as it was certified: the registry may have changed since."""
    task, delegation = carried(record.der, authority.names.oid_arc)
    return {
        "scope": task.scope if task else None,
        "resources": list(task.resources) if task else [],
        "deadline": rfc3339(task.deadline) if task else None,
        "depth": delegation.depth if delegation else 0,
        "max_depth": delegation.max_depth if delegation else None,
    }


def _check_may_revoke(authority: Authority, who: Caller, serial: Serial) -> None:
    """An agent may revoke its own; whether another's exists it does not learn."""
    if who.agent is None:
        who.require(Act.REVOKE)
        return
    with authority.database.read() as connection:
        record = certificates.standing(connection, serial)
    if record is None or (record.intent.tenant, record.intent.holder) != (who.tenant, who.agent):
        raise revoke.unknown()
