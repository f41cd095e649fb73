"""`/v1/revocations`: many certificates at once, by agent, task or key, in one transaction."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import Field

from ca.authority import revoke
from ca.identifiers import AgentId, TaskId, Thumbprint
from ca.pki.profile import Kind
from ca.refusals import Reason, Refused
from ca.store.certificates import Filter
from ca.web.bodies import Body, tenant_id
from ca.web.callers import Revoker, TheAuthority

router = APIRouter(tags=["certificates"])


class RevocationsBody(Body):
    """Which certificates are revoked, and why."""

    agent: str | None = None
    task: str | None = None
    key: str | None = Field(None, description="SHA-256 of the SubjectPublicKeyInfo, in hexadecimal digits.")
    tenant: str | None = None
    reason: str | None = Field(None, description="An RFC 5280 reason name. Default: keyCompromise for a key.")
    dry_run: bool = False


@router.post("/v1/revocations")
def revoke_many(request: Request, authority: TheAuthority, who: Revoker, body: RevocationsBody) -> dict[str, Any]:
    """Revokes every live certificate of an agent, a task or a key, or says which it would be.

    The reason keyCompromise also blocks the keys, and revokes whatever else is live for them.
    """
    default = "unspecified" if body.key is None else "keyCompromise"
    reason = revoke.reason_of(default if body.reason is None else body.reason)
    revoked = revoke.revoke_many(authority, _wanted(body), reason, who.name, dry_run=body.dry_run)
    if not body.dry_run:
        request.app.state.wake_publisher()
    serials = [str(record.intent.serial) for record in revoked.certificates]
    return {
        "dry_run": body.dry_run,
        "count": len(serials),
        "serials": serials,
        "blocked_keys": [key.hex for key in revoked.blocked_keys],
        "reason": reason.value,
    }


def _wanted(body: RevocationsBody) -> Filter:
    if sum(named is not None for named in (body.agent, body.task, body.key)) != 1:
        raise Refused(Reason.MALFORMED, "Name exactly one of agent, task and key.")
    if body.key is not None:
        if body.tenant is not None:
            raise Refused(Reason.MALFORMED, "A key is revoked wherever it is: tenant goes with agent or task.")
        return Filter(key=Thumbprint.parse(body.key))
    return Filter(
        tenant=tenant_id(body.tenant),
        kind=Kind.AGENT,
        holder=None if body.agent is None else AgentId(body.agent),
        task=None if body.task is None else TaskId(body.task),
    )
