"""Agents: registered with a ceiling, suspended, resumed, and their ceilings changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from ca.authority.authority import Authority
from ca.identifiers import AgentId, TenantId
from ca.policy.ceiling import Agent, AgentState
from ca.refusals import Reason, Refused
from ca.store import agents, audit
from ca.store.agents import AgentRecord, Identity
from ca.store.audit import Entry
from ca.store.transaction import Connection


def add(
    authority: Authority, agent: Agent, description: str, actor: str, identity: Identity | None = None
) -> AgentRecord:
    """Registers an agent. Raises `Refused(CONFLICT)` when the tenant has one of this name, or another this identity."""
    now = authority.clock()
    record = AgentRecord(agent, description, now.replace(microsecond=0), identity)

    def act(connection: Connection) -> AgentRecord:
        register(connection, record, actor, now)
        return record

    return authority.database.write(act).result()


def register(connection: Connection, record: AgentRecord, actor: str, now: datetime) -> None:
    """Adds the agent and its audit entry. Raises `IntegrityError` for a name or an identity that is taken."""
    agents.add(connection, record)
    audit.append(connection, _entry(record, "agent.add", actor, now, _told(record)))


def suspend(authority: Authority, tenant: TenantId, agent: AgentId, actor: str) -> AgentRecord:
    """No further certificate until it is resumed; what it holds is revoked separately."""
    return change(authority, tenant, agent, _in_state(AgentState.SUSPENDED), "agent.suspend", actor)


def resume(authority: Authority, tenant: TenantId, agent: AgentId, actor: str) -> AgentRecord:
    """Lets a suspended agent enrol again."""
    return change(authority, tenant, agent, _in_state(AgentState.ACTIVE), "agent.resume", actor)


def change(
    authority: Authority,
    tenant: TenantId,
    agent: AgentId,
    edit: Callable[[AgentRecord], AgentRecord],
    action: str,
    actor: str,
) -> AgentRecord:
    """Replaces an agent's state, ceiling or identity by what `edit` makes of it.

    Raises `Refused`: NOT_FOUND, CONFLICT for another agent's identity, or any for an agent that another delegates to.
    """

    def act(connection: Connection) -> AgentRecord:
        found = _there(agents.take(connection, tenant, agent), tenant, agent)
        changed = edit(found)
        if changed.identity is not None and changed.agent.parent is not None:
            raise Refused(Reason.CONFLICT, certified_by_its_parent(changed.agent))
        agents.replace(connection, changed)
        before, after = _told(found), _told(changed)
        detail = after | {"before": {name: before[name] for name in after if before[name] != after[name]}}
        audit.append(connection, _entry(changed, action, actor, authority.clock(), detail))
        return changed

    return authority.database.write(act).result()


def require(connection: Connection, tenant: TenantId, agent: AgentId) -> AgentRecord:
    """The agent of this name. Raises `Refused(NOT_FOUND)`."""
    return _there(agents.find(connection, tenant, agent), tenant, agent)


def certified_by_its_parent(agent: Agent) -> str:
    """Why nothing else proves a child: what it would have then would be bound to no parent."""
    return f"{agent.id} is a child of {agent.parent}, which alone has it certified, by delegation."


def _there(record: AgentRecord | None, tenant: TenantId, agent: AgentId) -> AgentRecord:
    if record is None:
        raise Refused(Reason.NOT_FOUND, f"The tenant {tenant} has no agent {agent}.")
    return record


def _in_state(state: AgentState) -> Callable[[AgentRecord], AgentRecord]:
    return lambda record: replace(record, agent=replace(record.agent, state=state))


def _told(record: AgentRecord) -> dict[str, Any]:
    """An agent as the audit log has it: all that decides what it may have, and who it is elsewhere."""
    agent, lifetime = record.agent, record.agent.max_lifetime
    return {
        "scope": str(agent.ceiling),
        "max_lifetime": None if lifetime is None else lifetime // timedelta(seconds=1),
        "max_depth": agent.max_depth,
        "parent": agent.parent,
        "state": agent.state.value,
        "identity": None if record.identity is None else asdict(record.identity),
    }


def _entry(record: AgentRecord, action: str, actor: str, now: datetime, detail: dict[str, Any]) -> Entry:
    return Entry(now, actor, action, "granted", tenant=record.agent.tenant, agent=record.agent.id, detail=detail)
