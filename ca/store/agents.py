"""Agents: their state and their ceilings."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, delete, exists, insert, select, tuple_, update

from ca.identifiers import AgentId, TenantId
from ca.policy.ceiling import Agent, AgentState
from ca.policy.scope import Scope
from ca.store.tables import agents, certificates

# What is decided on, in the order of `_agent`.
_DECIDED = (
    *(agents.c.tenant, agents.c.id, agents.c.state),
    *(agents.c.scope, agents.c.max_lifetime, agents.c.max_depth, agents.c.parent),
)
_FIND = select(agents).where(agents.c.tenant == bindparam("of_tenant"), agents.c.id == bindparam("name"))
_TAKE = _FIND.with_for_update()
# Whoever would suspend one of them waits until the certificate that was decided on is stored, and then revokes it.
_BY_IDENTITY = select(agents.c.tenant, agents.c.id, agents.c.identity_issuer, agents.c.identity_subject).where(
    tuple_(agents.c.identity_issuer, agents.c.identity_subject).in_(bindparam("identities", expanding=True))
)
_HOLD = (
    select(*_DECIDED)
    .where(tuple_(agents.c.tenant, agents.c.id).in_(bindparam("names", expanding=True)))
    .order_by(agents.c.tenant, agents.c.id)
    .with_for_update(read=True)
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an agent is to a provider of identity: one issuer's one subject, compared exactly."""

    issuer: str
    subject: str


@dataclass(frozen=True, slots=True)
class AgentRecord:
    """An agent as the registry shows it."""

    agent: Agent
    description: str
    created_at: datetime
    identity: Identity | None = None


def add(connection: Connection, record: AgentRecord) -> None:
    """Raises `IntegrityError` when the tenant has an agent of this name, or another agent has this identity."""
    agent = record.agent
    connection.execute(
        insert(agents).values(
            tenant=agent.tenant,
            id=agent.id,
            state=agent.state.value,
            description=record.description,
            created_at=record.created_at,
            parent=agent.parent,
            **_identity(record.identity),
            **_ceiling(agent),
        )
    )


def find(connection: Connection, tenant: TenantId, agent: AgentId) -> AgentRecord | None:
    """The agent of this name, or None."""
    row = connection.execute(_FIND, {"of_tenant": tenant, "name": agent}).one_or_none()
    return None if row is None else _record(row)


def take(connection: Connection, tenant: TenantId, agent: AgentId) -> AgentRecord | None:
    """As `find`, to change it: whoever else would waits until this transaction ends."""
    row = connection.execute(_TAKE, {"of_tenant": tenant, "name": agent}).one_or_none()
    return None if row is None else _record(row)


def hold(connection: Connection, names: Collection[tuple[TenantId, AgentId]]) -> dict[tuple[TenantId, AgentId], Agent]:
    """The agents of these names that there are; nobody changes them before this transaction ends."""
    rows = connection.execute(_HOLD, {"names": list(names)}) if names else ()
    held = [_agent(*row) for row in rows]
    return {(agent.tenant, agent.id): agent for agent in held}


def by_identity(connection: Connection, identities: Collection[Identity]) -> dict[Identity, tuple[TenantId, AgentId]]:
    """Whose identities these are."""
    rows = connection.execute(_BY_IDENTITY, {"identities": [(one.issuer, one.subject) for one in identities]})
    return {
        Identity(row.identity_issuer, row.identity_subject): (TenantId(row.tenant), AgentId(row.id)) for row in rows
    }


def page(connection: Connection, tenant: TenantId | None, after: str | None, limit: int) -> list[AgentRecord]:
    """Agents in order of name, from the one after the cursor `tenant/agent`."""
    query = select(agents).order_by(agents.c.tenant, agents.c.id).limit(limit)
    if tenant is not None:
        query = query.where(agents.c.tenant == tenant)
    if after is not None:
        last_tenant, _, last = after.partition("/")
        later = (agents.c.tenant > last_tenant) | ((agents.c.tenant == last_tenant) & (agents.c.id > last))
        query = query.where(later)
    return [_record(row) for row in connection.execute(query)]


def replace(connection: Connection, record: AgentRecord) -> None:
    """Stores the agent's state, ceiling and identity anew. Raises `IntegrityError` for another agent's identity."""
    agent = record.agent
    connection.execute(
        update(agents)
        .where(agents.c.tenant == agent.tenant, agents.c.id == agent.id)
        .values(state=agent.state.value, **_ceiling(agent), **_identity(record.identity))
    )


def forget_children(connection: Connection, before: datetime) -> int:
    """Deletes the active children whose last certificate ended before this moment; returns how many.

    One that is suspended stays: its parent could register it anew.
    """
    theirs = and_(certificates.c.tenant == agents.c.tenant, certificates.c.holder == agents.c.id)
    held = exists().where(theirs, certificates.c.not_after >= before)
    forgotten = delete(agents).where(
        agents.c.parent.is_not(None),
        agents.c.state == AgentState.ACTIVE.value,
        agents.c.created_at < before,
        ~held,
    )
    return connection.execute(forgotten).rowcount


def _ceiling(agent: Agent) -> dict[str, Any]:
    lifetime = None if agent.max_lifetime is None else int(agent.max_lifetime.total_seconds())
    return {"scope": str(agent.ceiling), "max_lifetime": lifetime, "max_depth": agent.max_depth}


def _identity(identity: Identity | None) -> dict[str, str | None]:
    return {
        "identity_issuer": identity.issuer if identity else None,
        "identity_subject": identity.subject if identity else None,
    }


def _record(row: Row[Any]) -> AgentRecord:
    agent = _agent(row.tenant, row.id, row.state, row.scope, row.max_lifetime, row.max_depth, row.parent)
    identity = None if row.identity_subject is None else Identity(row.identity_issuer, row.identity_subject)
    return AgentRecord(agent, row.description, row.created_at, identity)


@lru_cache(maxsize=8192)
def _agent(
    tenant: str, name: str, state: str, scope: str, max_lifetime: int | None, max_depth: int, parent: str | None
) -> Agent:
    """A row as a value. Remembered, because the same agents come back every few minutes."""
    return Agent(
        tenant=TenantId(tenant),
        id=AgentId(name),
        state=AgentState(state),
        ceiling=Scope.parse(scope),
        max_lifetime=None if max_lifetime is None else timedelta(seconds=max_lifetime),
        max_depth=max_depth,
        parent=None if parent is None else AgentId(parent),
    )
