"""Tasks: opened within the agent's ceiling, ended by word or by deadline. The end revokes what was issued for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cryptography import x509

from ca.authority.agents import require as require_agent
from ca.authority.authority import Authority
from ca.authority.revoke import Order, order_of, revoke_within
from ca.identifiers import AgentId, TaskId, TenantId, Thumbprint
from ca.pki.extensions import MAX_OCTETS, AgentTask
from ca.policy.ceiling import Principal, Task, TaskState
from ca.policy.details import NO_DETAILS
from ca.policy.reach import Narrower, Reach
from ca.refusals import Reason, Refused
from ca.store import audit, details, tasks
from ca.store.audit import Entry
from ca.store.certificates import Standing
from ca.store.filters import Filter
from ca.store.stillness import Stillness
from ca.store.tasks import TaskRecord
from ca.store.transaction import Connection

DEFAULT_LENGTH = timedelta(hours=24)
LONGEST = timedelta(days=366)
_OVERDUE_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Opening:
    """What a task is opened with. Without a deadline it ends after 24 hours."""

    tenant: TenantId
    agent: AgentId
    id: TaskId
    reach: Reach
    deadline: datetime | None
    principal: Principal | None


@dataclass(frozen=True, slots=True)
class Ended:
    """A task that ended, and the certificates that ended with it."""

    record: TaskRecord
    revoked: list[Standing]


def open_task(authority: Authority, opening: Opening, actor: str) -> TaskRecord:
    """Opens a task. Raises `Refused`: NOT_FOUND, SCOPE_EXCEEDED, MALFORMED, LIFETIME_REFUSED, CONFLICT."""
    now = authority.clock()
    record = _record(opening, now)

    def act(connection: Connection) -> TaskRecord:
        agent = require_agent(connection, opening.tenant, opening.agent).agent
        if not opening.reach.scope.within(agent.ceiling):
            raise Refused(
                Reason.SCOPE_EXCEEDED,
                f"The task's scope exceeds the agent's ceiling, which is '{agent.ceiling}'; widen the agent's first.",
            )
        tasks.add(connection, record)
        _audit(connection, record, now, "task.open", actor)
        return record

    return authority.database.write(act).result()


def narrow(
    authority: Authority, tenant: TenantId, task: TaskId, asked: Narrower, deadline: datetime | None, actor: str
) -> TaskRecord:
    """Takes away from a running task: what is renewed, delegated or asked about from now on has no more than this.

    Raises `Refused`: NOT_FOUND, TASK_ENDED, LIFETIME_REFUSED for a later deadline or one in the past,
    SCOPE_EXCEEDED, RESOURCE_EXCEEDED, DETAILS_EXCEEDED for what the task does not have, MALFORMED for no details at
    all where it has some.
    """

    def act(connection: Connection) -> TaskRecord:
        now = authority.clock()
        current = _there(tasks.take(connection, tenant, task), tenant, task)
        if current.task.state is not TaskState.RUNNING:
            raise Refused(Reason.TASK_ENDED, f"The task {task} has ended, and stays as it was.")
        if asked.details == NO_DETAILS and current.task.reach.details:
            # Of a task that never had details, they are no limit: this one would look the same from then on.
            raise Refused(
                Reason.MALFORMED, "A task that has authorization details keeps one; to allow nothing, cancel it."
            )
        until = (deadline or current.task.deadline).replace(microsecond=0)
        if not now < until <= current.task.deadline:
            raise Refused(Reason.LIFETIME_REFUSED, "A deadline is only brought forward; to end a task now, cancel it.")
        # Certificates that carry what is taken away may still be renewed, with what is left of it.
        details.keep(connection, current.task.reach.details)
        narrowed = replace(current, task=replace(current.task, reach=asked.of(current.task.reach), deadline=until))
        tasks.narrow(connection, tenant, narrowed.task)
        _audit(connection, narrowed, now, "task.narrow", actor)
        return narrowed

    return authority.database.write(act).result()


def end(authority: Authority, tenant: TenantId, task: TaskId, state: TaskState, actor: str) -> Ended:
    """Ends a task and revokes its certificates in one transaction; a task that had ended stays as it was.

    Raises `Refused(NOT_FOUND)`.
    """

    def act(connection: Connection) -> Ended:
        order = order_of(authority, x509.ReasonFlags.cessation_of_operation, actor)
        return _end(connection, tenant, task, state, order)

    return authority.database.write(act, Stillness.EVERYTHING).result()


def expire(authority: Authority) -> list[Ended]:
    """Ends the tasks whose deadline has passed, at most 100 at a time."""
    now = authority.clock()
    with authority.database.read() as connection:
        overdue = tasks.overdue(connection, now, _OVERDUE_AT_ONCE)
    return [end(authority, one.tenant, one.task.id, TaskState.EXPIRED, "authority") for one in overdue]


def require(connection: Connection, tenant: TenantId, task: TaskId) -> TaskRecord:
    """The task of this name. Raises `Refused(NOT_FOUND)`."""
    return _there(tasks.find(connection, tenant, task), tenant, task)


def _there(record: TaskRecord | None, tenant: TenantId, task: TaskId) -> TaskRecord:
    if record is None:
        raise Refused(Reason.NOT_FOUND, f"The tenant {tenant} has no task {task}.")
    return record


def _end(connection: Connection, tenant: TenantId, task: TaskId, state: TaskState, order: Order) -> Ended:
    record, now = _there(tasks.take(connection, tenant, task), tenant, task), order.now
    if not tasks.end(connection, tenant, task, state, now):
        return Ended(record, [])
    revoked = revoke_within(connection, Filter(tenant=tenant, task=task), order).certificates
    ended = replace(record, task=replace(record.task, state=state), ended_at=now.replace(microsecond=0))
    _audit(connection, ended, now, f"task.{state.value}", order.actor)
    return Ended(ended, revoked)


def _record(opening: Opening, now: datetime) -> TaskRecord:
    deadline = (opening.deadline or now + DEFAULT_LENGTH).replace(microsecond=0)
    if not now < deadline <= now + LONGEST:
        raise Refused(Reason.LIFETIME_REFUSED, f"The deadline must lie ahead, at most {LONGEST.days} days.")
    task = Task(
        id=opening.id,
        agent=opening.agent,
        state=TaskState.RUNNING,
        reach=opening.reach,
        deadline=deadline,
        principal=opening.principal,
    )
    if len(extension(task, task.reach).encode()) > MAX_OCTETS:
        raise Refused(Reason.MALFORMED, "Scope and resources together are more than a certificate carries (1 KiB).")
    return TaskRecord(opening.tenant, task, now.replace(microsecond=0))


def extension(task: Task, reach: Reach) -> AgentTask:
    """What a certificate for this task says of it, with this reach."""
    return AgentTask(
        task_id=task.id,
        deadline=task.deadline,
        details_sha256=reach.details.digest,
        scope=str(reach.scope) or None,
        resources=reach.resources,
        principal_sha256=_principal_digest(task.principal) if task.principal else None,
    )


def _principal_digest(principal: Principal) -> bytes:
    """SHA-256 over issuer, a zero octet and subject: comparable, and no personal data in a certificate."""
    return Thumbprint.of(f"{principal.issuer}\0{principal.subject}".encode()).digest


def _audit(connection: Connection, record: TaskRecord, now: datetime, action: str, actor: str) -> None:
    task = record.task
    reach = task.reach
    detail = {"scope": str(reach.scope), "resources": list(reach.resources), "deadline": task.deadline.isoformat()}
    entry = Entry(now, actor, action, "granted", record.tenant, task.agent, task.id, detail=detail)
    audit.append(connection, entry)
