"""`/v1/revocations`: many certificates at once, in one transaction; what it would be; the second operator's word."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from fastapi import APIRouter, Request, Response
from pydantic import Field

from ca.authority import compromise, propose, revoke
from ca.authority.revoke import Revoked
from ca.identifiers import AgentId, Serial, TaskId, Thumbprint
from ca.pki import csr
from ca.pki.profile import Kind
from ca.refusals import Reason, Refused
from ca.store import proposals
from ca.store.certificates import Standing
from ca.store.filters import Filter
from ca.store.proposals import Proposal
from ca.web.bodies import Body, rfc3339, tenant_id
from ca.web.callers import Reader, Revoker, TheAuthority

router = APIRouter(prefix="/v1/revocations", tags=["revocations"])

_NAMES = ("serial", "agent", "task", "key", "descendants_of")


class RevocationsBody(Body):
    """Which certificates are revoked, and why."""

    serial: str | None = Field(None, description="One certificate, and whatever was delegated from it.")
    agent: str | None = None
    task: str | None = None
    key: str | None = Field(None, description="SHA-256 of the SubjectPublicKeyInfo, in hexadecimal digits.")
    descendants_of: str | None = Field(None, description="A serial: whatever was delegated from it, however far.")
    tenant: str | None = Field(None, description="Of the agent or task; alone, all agents of this tenant.")
    reason: str | None = Field(None, description="An RFC 5280 reason name. Default: keyCompromise for a key.")
    dry_run: bool = False


class ProofBody(Body):
    """A CSR that a compromised key signed, with the subject that says so."""

    csr: str = Field(max_length=16384)


@router.post("")
def revoke_many(
    request: Request, response: Response, authority: TheAuthority, who: Revoker, body: RevocationsBody
) -> dict[str, Any]:
    """Revokes every live certificate that is named, with what was delegated from it, or says which it would be.

    The reason keyCompromise also blocks the keys, and revokes whatever else is live for them. More than
    one operator may revoke by policy are proposed (202): another operator confirms.
    """
    wanted, reason = _wanted(body), _reason(body)
    if body.dry_run:
        return _done(revoke.revoke_many(authority, wanted, reason, who.name, dry_run=True), reason)
    done = propose.revoke_or_propose(authority, wanted, reason, who.name)
    if isinstance(done, Proposal):
        response.status_code = 202
        return describe(done)
    request.app.state.publisher.wake()
    return _done(done, reason)


@router.get("/proposals")
def search(authority: TheAuthority, _caller: Reader) -> dict[str, Any]:
    """What waits for a second operator, oldest first."""
    with authority.database.read() as connection:
        waiting = proposals.waiting(connection, authority.clock())
    return {"items": [describe(one) for one in waiting], "next": None}


@router.post("/proposals/{proposal}/confirm")
def confirm(request: Request, authority: TheAuthority, who: Revoker, proposal: str) -> dict[str, Any]:
    """Carries out what another operator proposed: whatever it names by now."""
    reason, done = propose.confirm(authority, proposal, who.name)
    request.app.state.publisher.wake()
    return _done(done, reason)


@router.post("/proven")
def revoke_proven(request: Request, authority: TheAuthority, body: ProofBody) -> dict[str, Any]:
    """Revokes everything of a key whose holder shows that it is out, and blocks it. Nobody needs to be known for that.

    The CSR must be signed with the key, and its subject be `CN=Proof of Key Compromise`, which no
    request for a certificate has. The answer is the same whether this authority knows the key or not.
    """
    key = compromise.revoke_proven(authority, csr.parse(body.csr.encode()))
    request.app.state.publisher.wake()
    return {"key_sha256": key.hex, "reason": x509.ReasonFlags.key_compromise.value}


def describe(proposal: Proposal) -> dict[str, Any]:
    """A proposal as the API shows it."""
    wanted = proposal.wanted
    return {
        "proposal": proposal.id,
        "serial": str(wanted.serial) if wanted.serial else None,
        "agent": wanted.holder,
        "task": wanted.task,
        "key": wanted.key.hex if wanted.key else None,
        "descendants_of": str(wanted.descendants_of) if wanted.descendants_of else None,
        "tenant": wanted.tenant,
        "reason": proposal.reason.value,
        "count": proposal.count,
        "proposed_by": proposal.proposed_by,
        "expires_at": rfc3339(proposal.expires_at),
    }


def _done(revoked: Revoked, reason: x509.ReasonFlags) -> dict[str, Any]:
    return {
        "dry_run": revoked.dry_run,
        "count": revoked.count,
        "serials": [str(record.intent.serial) for record in revoked.certificates],
        "tree": tree(revoked.certificates),
        "blocked_keys": [key.hex for key in revoked.blocked_keys],
        "reason": reason.value,
    }


def tree(records: list[Standing]) -> list[dict[str, Any]]:
    """Who delegated to whom among these, parents first; one whose parent is not among them is a root."""
    nodes: dict[Serial, dict[str, Any]] = {
        record.intent.serial: {
            "serial": str(record.intent.serial),
            "tenant": record.intent.tenant,
            "holder": record.intent.holder,
            "task": record.intent.task,
            "children": [],
        }
        for record in records
    }
    roots: list[dict[str, Any]] = []
    for record in records:
        parent = nodes.get(record.intent.parent) if record.intent.parent else None
        (parent["children"] if parent else roots).append(nodes[record.intent.serial])
    return roots


def _reason(body: RevocationsBody) -> x509.ReasonFlags:
    default = "unspecified" if body.key is None else "keyCompromise"
    return revoke.reason_of(default if body.reason is None else body.reason)


def _wanted(body: RevocationsBody) -> Filter:
    named = [name for name in _NAMES if getattr(body, name) is not None]
    if len(named) > 1 or (not named and body.tenant is None):
        raise Refused(
            Reason.MALFORMED, "Name exactly one of serial, agent, task, key, descendants_of, or a tenant alone."
        )
    if body.tenant is not None and not {"agent", "task"}.issuperset(named):
        raise Refused(Reason.MALFORMED, "A key or a lineage is revoked wherever it is: tenant goes with agent or task.")
    if body.key is not None:
        return Filter(key=Thumbprint.parse(body.key))
    if body.serial is not None:
        return Filter(serial=Serial.parse(body.serial))
    if body.descendants_of is not None:
        return Filter(descendants_of=Serial.parse(body.descendants_of))
    return Filter(
        tenant=tenant_id(body.tenant),
        kind=Kind.AGENT,
        holder=None if body.agent is None else AgentId(body.agent),
        task=None if body.task is None else TaskId(body.task),
    )
