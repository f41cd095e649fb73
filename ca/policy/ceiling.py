"""The decision: what a certificate may say, from the agent's ceiling, its task and what it asked for.

One pure function. Nothing widens: each fact can only narrow or refuse.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from ca.identifiers import AgentId, TaskId, TenantId, Thumbprint
from ca.policy.details import Details
from ca.policy.reach import Narrower, Reach
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
    Who renews in time has the old one beside the new for `overlap`, as long as the longest token that it is bound to.
    """

    default: timedelta
    shortest: timedelta
    longest: timedelta
    no_revocation_under: timedelta = timedelta(0)
    overlap: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Agent:
    """What the registry knows of an agent. One that a `parent` made is nobody else's to certify by delegation."""

    tenant: TenantId
    id: AgentId
    state: AgentState
    ceiling: Scope
    max_lifetime: timedelta | None
    max_depth: int
    parent: AgentId | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """On whose behalf a task runs: an issuer and a subject, as in a JWT (RFC 7519 4.1)."""

    issuer: str
    subject: str


@dataclass(frozen=True, slots=True)
class Task:
    """What the registry knows of a task."""

    id: TaskId
    agent: AgentId
    state: TaskState
    reach: Reach
    deadline: datetime
    principal: Principal | None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asked for: None asks for all that may be had.

    `levels` is how many generations a child may have below it.
    """

    task: TaskId | None = None
    scope: Scope | None = None
    not_after: datetime | None = None
    resources: tuple[str, ...] | None = None
    details: Details | None = None
    levels: int | None = None

    @property
    def spelled(self) -> str:
        """The one text of equal ones: whoever sends it again is recognised by it, on every replica."""
        details = None if self.details is None else (self.details.digest or b"").hex()
        return f"{self.task} {self.scope} {self.not_after} {self.resources} {details} {self.levels}"


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a child stands: its parent's certificate, the first one's, its depth and the deepest there may be."""

    parent: Thumbprint
    root: Thumbprint
    depth: int
    max_depth: int


@dataclass(frozen=True, slots=True)
class Bound:
    """What a proof itself allows at most: a certificate no more than it says, a parent no more than it has."""

    reach: Reach | None = None
    ends: tuple[datetime, ...] = ()
    lineage: Lineage | None = None


UNBOUND = Bound()
"""A proof of who somebody is, and of nothing else."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a certificate may say: whom, for which task, how far, until when, and by whom it was delegated."""

    agent: Agent
    task: Task | None
    reach: Reach
    lifetime: timedelta
    ends: tuple[datetime, ...]
    lineage: Lineage | None = None


def decide(
    agent: Agent, task: Task | None, asked: Asked, lifetimes: Lifetimes, now: datetime, bound: Bound = UNBOUND
) -> Grant:
    """The intersection of the agent's ceiling, its task, its proof and the request.

    Raises `Refused`: AGENT_SUSPENDED, TASK_ENDED, FORBIDDEN, LIFETIME_REFUSED, and what exceeds it by SCOPE_EXCEEDED,
    RESOURCE_EXCEEDED, DETAILS_EXCEEDED.
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
        reach=Narrower(asked.scope, asked.resources, asked.details).of(_available(agent, task, bound)),
        lifetime=_lifetime(agent, asked, lifetimes, now),
        ends=bound.ends if task is None else (task.deadline, *bound.ends),
        lineage=bound.lineage,
    )


def _available(agent: Agent, task: Task | None, bound: Bound) -> Reach:
    if task is None:
        return Reach()
    reach = task.reach if bound.reach is None else bound.reach.intersection(task.reach)
    return replace(reach, scope=reach.scope.intersection(agent.ceiling))


def _lifetime(agent: Agent, asked: Asked, lifetimes: Lifetimes, now: datetime) -> timedelta:
    longest = min(lifetimes.longest, agent.max_lifetime or lifetimes.longest)
    if asked.not_after is None:
        return min(lifetimes.default, longest)
    wanted = asked.not_after - now
    if wanted < lifetimes.shortest:
        seconds = int(lifetimes.shortest.total_seconds())
        raise Refused(Reason.LIFETIME_REFUSED, f"A certificate lives for at least {seconds} seconds; ask for more.")
    return min(wanted, longest)
