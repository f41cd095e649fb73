"""Agents: registered with a ceiling, suspended, resumed, and their ceilings changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

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
        agents.add(connection, record)
        _audit(authority, connection, agent, "agent.add", actor)
        return record

    return authority.database.write(act).result()


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
        changed = edit(_there(agents.take(connection, tenant, agent), tenant, agent))
        if changed.identity is not None and changed.agent.parent is not None:
            raise Refused(Reason.CONFLICT, certified_by_its_parent(changed.agent))
        agents.replace(connection, changed)
        _audit(authority, connection, changed.agent, action, actor)
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


def _audit(authority: Authority, connection: Connection, agent: Agent, action: str, actor: str) -> None:
    detail = {"scope": str(agent.ceiling), "max_depth": agent.max_depth, "state": agent.state.value}
    entry = Entry(authority.clock(), actor, action, "granted", tenant=agent.tenant, agent=agent.id, detail=detail)
    audit.append(connection, entry)
