"""Tasks: scope, resources, authorization details, deadline, and how they ended."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, tuple_, update

from ca.identifiers import AgentId, TaskId, TenantId
from ca.policy.ceiling import Principal, Task, TaskState
from ca.policy.details import Details
from ca.policy.reach import Reach
from ca.policy.scope import Scope
from ca.store import notes
from ca.store.tables import tasks

_FIND = select(tasks).where(tasks.c.tenant == bindparam("of_tenant"), tasks.c.id == bindparam("name"))
_TAKE = _FIND.with_for_update()
# Whoever would end one of them waits until the certificate that was decided on is stored, and then revokes it.
_HOLD = (
    select(tasks)
    .where(tuple_(tasks.c.tenant, tasks.c.id).in_(bindparam("names", expanding=True)))
    .order_by(tasks.c.tenant, tasks.c.id)
    .with_for_update(read=True)
)


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A task as the registry shows it."""

    tenant: TenantId
    task: Task
    created_at: datetime
    ended_at: datetime | None = None


def add(connection: Connection, record: TaskRecord) -> None:
    """Raises `IntegrityError` when the tenant has a task of this name."""
    task = record.task
    connection.execute(
        insert(tasks).values(
            tenant=record.tenant,
            id=task.id,
            agent=task.agent,
            state=task.state.value,
            deadline=task.deadline,
            **_reach(task.reach),
            principal_issuer=task.principal.issuer if task.principal else None,
            principal_subject=task.principal.subject if task.principal else None,
            created_at=record.created_at,
        )
    )


def find(connection: Connection, tenant: TenantId, task: TaskId) -> TaskRecord | None:
    """The task of this name, or None."""
    row = connection.execute(_FIND, {"of_tenant": tenant, "name": task}).one_or_none()
    return None if row is None else _record(row)


def take(connection: Connection, tenant: TenantId, task: TaskId) -> TaskRecord | None:
    """As `find`, to change it: whoever else would waits until this transaction ends."""
    row = connection.execute(_TAKE, {"of_tenant": tenant, "name": task}).one_or_none()
    return None if row is None else _record(row)


def hold(connection: Connection, names: Collection[tuple[TenantId, TaskId]]) -> dict[tuple[TenantId, TaskId], Task]:
    """The tasks of these names that there are; nobody changes them before this transaction ends."""
    rows = connection.execute(_HOLD, {"names": list(names)}) if names else ()
    return {(TenantId(row.tenant), TaskId(row.id)): _task(row) for row in rows}


def page(
    connection: Connection,
    tenant: TenantId | None,
    *,
    agent: AgentId | None = None,
    state: TaskState | None = None,
    after: str | None = None,
    limit: int,
) -> list[TaskRecord]:
    """Tasks in order of name, from the one after the cursor `tenant/task`."""
    query = select(tasks).order_by(tasks.c.tenant, tasks.c.id).limit(limit)
    if tenant is not None:
        query = query.where(tasks.c.tenant == tenant)
    if agent is not None:
        query = query.where(tasks.c.agent == agent)
    if state is not None:
        query = query.where(tasks.c.state == state.value)
    if after is not None:
        last_tenant, _, last = after.partition("/")
        query = query.where((tasks.c.tenant > last_tenant) | ((tasks.c.tenant == last_tenant) & (tasks.c.id > last)))
    return [_record(row) for row in connection.execute(query)]


def narrow(connection: Connection, tenant: TenantId, task: Task) -> None:
    """Stores a task's reach and deadline anew."""
    query = update(tasks).where(tasks.c.tenant == tenant, tasks.c.id == task.id)
    connection.execute(query.values(deadline=task.deadline, **_reach(task.reach)))


def end(connection: Connection, tenant: TenantId, task: TaskId, state: TaskState, at: datetime) -> bool:
    """Ends a running task; False when it had ended already, which changes nothing."""
    result = connection.execute(
        update(tasks)
        .where(tasks.c.tenant == tenant, tasks.c.id == task, tasks.c.state == TaskState.RUNNING.value)
        .values(state=state.value, ended_at=at)
    )
    if result.rowcount != 1:
        return False
    notes.note(connection, "end", [{"tenant": tenant, "id": task, "state": state.value, "ended_at": at}])
    return True


def overdue(connection: Connection, now: datetime, limit: int) -> list[TaskRecord]:
    """Running tasks whose deadline has passed."""
    query = select(tasks).where(tasks.c.state == TaskState.RUNNING.value, tasks.c.deadline <= now).limit(limit)
    return [_record(row) for row in connection.execute(query)]


def _record(row: Row[Any]) -> TaskRecord:
    return TaskRecord(
        tenant=TenantId(row.tenant),
        task=_task(row),
        created_at=row.created_at,
        ended_at=row.ended_at,
    )


def _reach(reach: Reach) -> dict[str, Any]:
    return {
        "scope": str(reach.scope),
        "resources": list(reach.resources),
        "authorization_details": list(reach.details.items),
        "details_sha256": reach.details.digest,
    }


def _task(row: Row[Any]) -> Task:
    principal = None
    if row.principal_subject is not None:
        principal = Principal(issuer=row.principal_issuer, subject=row.principal_subject)
    return Task(
        id=TaskId(row.id),
        agent=AgentId(row.agent),
        state=TaskState(row.state),
        reach=Reach(
            Scope.parse(row.scope),
            tuple(row.resources),
            Details(tuple(row.authorization_details), row.details_sha256),
        ),
        deadline=row.deadline,
        principal=principal,
    )
