"""`/v1/agents`: the registry of agents and their ceilings."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from fastapi import APIRouter
from pydantic import Field

from ca.authority import agents as registry
from ca.authority.authority import Authority
from ca.identifiers import AgentId, SpiffeId
from ca.policy.ceiling import Agent, AgentState
from ca.policy.scope import Scope
from ca.refusals import Reason, Refused
from ca.store import agents
from ca.store.agents import AgentRecord, Identity
from ca.web.bodies import Body, Cursor, Limit, page, rfc3339, tenant_id
from ca.web.callers import Reader, Registrar, TheAuthority

router = APIRouter(prefix="/v1/agents", tags=["agents"])


class Ceiling(Body):
    """What an agent may hold at most, and who it is to a provider of identity."""

    scope: str | None = Field(None, description="The widest scope that a task of this agent may have.")
    max_lifetime: int | None = Field(None, ge=60, le=3600, description="Seconds that a certificate may live.")
    max_depth: int | None = Field(None, ge=0, le=15, description="How deep this agent may delegate.")
    oidc_issuer: str | None = Field(None, max_length=512, description="The `iss` of tokens that prove this agent.")
    oidc_subject: str | None = Field(None, max_length=512, description="Their `sub`, exactly; no two agents share one.")


class AgentBody(Ceiling):
    """A new agent."""

    id: str = Field(description="Its name: the CN of its certificates.")
    tenant: str | None = None
    description: str = Field("", max_length=200)


@router.post("", status_code=201)
def add(authority: TheAuthority, who: Registrar, body: AgentBody) -> dict[str, Any]:
    """Registers an agent."""
    agent = Agent(
        tenant=tenant_id(body.tenant),
        id=AgentId(body.id),
        state=AgentState.ACTIVE,
        ceiling=Scope.parse(body.scope),
        max_lifetime=None if body.max_lifetime is None else timedelta(seconds=body.max_lifetime),
        max_depth=body.max_depth or 0,
    )
    identity = _identity(body.oidc_issuer, body.oidc_subject)
    return describe(authority, registry.add(authority, agent, body.description, who.name, identity))


@router.get("")
def search(
    authority: TheAuthority, _caller: Reader, tenant: str | None = None, cursor: Cursor = None, limit: Limit = 100
) -> dict[str, Any]:
    """Agents in order of name."""
    wanted = None if tenant is None else tenant_id(tenant)
    with authority.database.read() as connection:
        records = agents.page(connection, wanted, cursor, limit + 1)
    items = [describe(authority, record) for record in records]
    last = records[limit - 1].agent if len(records) > limit else None
    return page(items, limit, f"{last.tenant}/{last.id}" if last else "")


@router.get("/{agent}")
def show(authority: TheAuthority, _caller: Reader, agent: str, tenant: str | None = None) -> dict[str, Any]:
    """One agent."""
    with authority.database.read() as connection:
        return describe(authority, registry.require(connection, tenant_id(tenant), AgentId(agent)))


@router.patch("/{agent}")
def change(
    authority: TheAuthority, who: Registrar, agent: str, body: Ceiling, tenant: str | None = None
) -> dict[str, Any]:
    """Replaces the parts that are named; certificates that were issued stay as they are."""
    asked = body.model_dump(exclude_unset=True)

    def edit(record: AgentRecord) -> AgentRecord:
        current = record.agent
        if "scope" in asked:
            current = replace(current, ceiling=Scope.parse(body.scope))
        if "max_lifetime" in asked:
            lifetime = None if body.max_lifetime is None else timedelta(seconds=body.max_lifetime)
            current = replace(current, max_lifetime=lifetime)
        if "max_depth" in asked:
            current = replace(current, max_depth=body.max_depth or 0)
        identity = record.identity
        if asked.keys() & {"oidc_issuer", "oidc_subject"}:
            identity = _identity(body.oidc_issuer, body.oidc_subject)
        return replace(record, agent=current, identity=identity)

    changed = registry.change(authority, tenant_id(tenant), AgentId(agent), edit, "agent.change", who.name)
    return describe(authority, changed)


@router.post("/{agent}/suspend")
def suspend(authority: TheAuthority, who: Registrar, agent: str, tenant: str | None = None) -> dict[str, Any]:
    """No further certificate until it is resumed."""
    return describe(authority, registry.suspend(authority, tenant_id(tenant), AgentId(agent), who.name))


@router.post("/{agent}/resume")
def resume(authority: TheAuthority, who: Registrar, agent: str, tenant: str | None = None) -> dict[str, Any]:
    """Lets a suspended agent enrol again."""
    return describe(authority, registry.resume(authority, tenant_id(tenant), AgentId(agent), who.name))


def _identity(issuer: str | None, subject: str | None) -> Identity | None:
    if not issuer and not subject:
        return None
    if not (issuer and subject):
        raise Refused(Reason.MALFORMED, "Send oidc_issuer and oidc_subject together: an identity is both.")
    return Identity(issuer, subject)


def describe(authority: Authority, record: AgentRecord) -> dict[str, Any]:
    """An agent as the API shows it."""
    agent = record.agent
    return {
        "id": agent.id,
        "tenant": agent.tenant,
        "status": agent.state.value,
        "spiffe_id": SpiffeId.agent(authority.names.trust_domain, agent.tenant, agent.id).uri,
        "scope": str(agent.ceiling),
        "max_lifetime": None if agent.max_lifetime is None else int(agent.max_lifetime.total_seconds()),
        "max_depth": agent.max_depth,
        "parent": agent.parent,
        "oidc_issuer": record.identity.issuer if record.identity else None,
        "oidc_subject": record.identity.subject if record.identity else None,
        "description": record.description,
        "created_at": rfc3339(record.created_at),
    }
