"""Enrolment tokens: made for one agent, and where there is one for its task; shown once."""

from __future__ import annotations

from datetime import timedelta

from ca.authority import agents, tasks
from ca.authority.authority import Authority
from ca.identifiers import AgentId, TaskId, TenantId, Thumbprint
from ca.policy.ceiling import TaskState
from ca.proofs import token
from ca.refusals import Reason, Refused
from ca.store import audit, tokens
from ca.store.audit import Entry
from ca.store.tokens import TokenRecord
from ca.store.transaction import Connection

DEFAULT_LIFETIME = timedelta(minutes=5)
LONGEST_LIFETIME = timedelta(hours=1)


def create(
    authority: Authority,
    *,
    tenant: TenantId,
    agent: AgentId,
    task: TaskId | None,
    key: Thumbprint | None,
    lifetime: timedelta,
    actor: str,
) -> tuple[str, TokenRecord]:
    """Makes a token; the text is in the answer and nowhere else.

    Raises `Refused`: NOT_FOUND, CONFLICT for an agent that another one delegates to, FORBIDDEN for another agent's
    task, TASK_ENDED, LIFETIME_REFUSED.
    """
    if not timedelta(0) < lifetime <= LONGEST_LIFETIME:
        raise Refused(Reason.LIFETIME_REFUSED, "An enrolment token lives for at most one hour.")
    now = authority.clock().replace(microsecond=0)
    text = token.mint(authority.random(token.RANDOM_OCTETS))
    record = TokenRecord(token.hash_of(text), tenant, agent, task, key, actor, now, now + lifetime)

    def act(connection: Connection) -> None:
        known = agents.require(connection, tenant, agent).agent
        if known.parent is not None:
            raise Refused(Reason.CONFLICT, agents.certified_by_its_parent(known))
        if task is not None:
            _check_task(connection, tenant, agent, task)
        tokens.add(connection, record)
        detail = {"expires_at": record.expires_at.isoformat(), "bound_to_key": key is not None}
        entry = Entry(now, actor, "token.create", "granted", tenant, agent, task, detail=detail)
        audit.append(connection, entry)

    authority.database.write(act).result()
    return text, record


def _check_task(connection: Connection, tenant: TenantId, agent: AgentId, task: TaskId) -> None:
    found = tasks.require(connection, tenant, task).task
    if found.agent != agent:
        raise Refused(Reason.FORBIDDEN, f"The task {task} is not this agent's.")
    if found.state is not TaskState.RUNNING:
        raise Refused(Reason.TASK_ENDED, f"The task {task} has ended; open a new one.")
