"""The decision: what a certificate may say, from the agent's ceiling, its task and what it asked for.

One pure function. Nothing widens: each fact can only narrow or refuse.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ca.identifiers import AgentId, TaskId, TenantId
from ca.policy.scope import Scope
from ca.refusals import Reason, Refused


class AgentState(StrEnum):
    """Whether an agent may hold certificates."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


class TaskState(StrEnum):
    """Where a task stands: only a running one is certified."""

    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """The policy's lifetimes of an agent's certificate.

    One that lives for `no_revocation_under` or less says that its revocation need not be checked (RFC 9608).
    """

    default: timedelta
    shortest: timedelta
    longest: timedelta
    no_revocation_under: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Agent:
    """What the registry knows of an agent."""

    tenant: TenantId
    id: AgentId
    state: AgentState
    ceiling: Scope
    max_lifetime: timedelta | None
    max_depth: int


@dataclass(frozen=True, slots=True)
class Principal:
    """On whose behalf a task runs: an issuer and a subject, as in a JWT (RFC 7519 4.1)."""

    issuer: str
    subject: str


@dataclass(frozen=True, slots=True)
class Task:
    """What the registry knows of a task. `details_sha256` is over the RFC 8785 form of its authorization details."""

    id: TaskId
    agent: AgentId
    state: TaskState
    scope: Scope
    resources: tuple[str, ...]
    details_sha256: bytes | None
    deadline: datetime
    principal: Principal | None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asked for: None asks for all that may be had."""

    task: TaskId | None = None
    scope: Scope | None = None
    not_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """What a certificate may say: whom, for which task, how far, and until when."""

    agent: Agent
    task: Task | None
    scope: Scope
    lifetime: timedelta
    ends: tuple[datetime, ...]


def decide(agent: Agent, task: Task | None, asked: Asked, lifetimes: Lifetimes, now: datetime) -> Grant:
    """The intersection of the agent's ceiling, its task and the request.

    Raises `Refused`: AGENT_SUSPENDED, TASK_ENDED, SCOPE_EXCEEDED, LIFETIME_REFUSED.
    """
    if agent.state is not AgentState.ACTIVE:
        raise Refused(Reason.AGENT_SUSPENDED, "This agent is suspended; an operator can resume it.")
    if task is not None and (task.state is not TaskState.RUNNING or task.deadline <= now):
        raise Refused(Reason.TASK_ENDED, "This task has ended; open a new one.")
    if asked.task is not None and (task is None or asked.task != task.id):
        raise Refused(Reason.FORBIDDEN, "The credential was not made for this task.")
    return Grant(
        agent=agent,
        task=task,
        scope=_scope(agent, task, asked),
        lifetime=_lifetime(agent, asked, lifetimes, now),
        ends=() if task is None else (task.deadline,),
    )


def _scope(agent: Agent, task: Task | None, asked: Asked) -> Scope:
    available = Scope() if task is None else task.scope.intersection(agent.ceiling)
    if asked.scope is None:
        return available
    if not asked.scope.within(available):
        raise Refused(Reason.SCOPE_EXCEEDED, "The scope asked for exceeds the task's scope or the agent's ceiling.")
    return asked.scope


def _lifetime(agent: Agent, asked: Asked, lifetimes: Lifetimes, now: datetime) -> timedelta:
    longest = min(lifetimes.longest, agent.max_lifetime or lifetimes.longest)
    if asked.not_after is None:
        return min(lifetimes.default, longest)
    wanted = asked.not_after - now
    if wanted < lifetimes.shortest:
        seconds = int(lifetimes.shortest.total_seconds())
        raise Refused(Reason.LIFETIME_REFUSED, f"A certificate lives for at least {seconds} seconds; ask for more.")
    return min(wanted, longest)
