"""`/v1/tasks`: what agents work on, and until when."""

from __future__ import annotations

from base64 import b32encode
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from ca.authority import tasks as registry
from ca.authority.authority import Authority
from ca.authority.tasks import Ended, Opening
from ca.identifiers import AgentId, TaskId
from ca.policy import scope
from ca.policy.ceiling import Principal, TaskState
from ca.policy.details import Details
from ca.policy.reach import Narrower, Reach
from ca.policy.scope import Scope
from ca.refusals import Reason, Refused
from ca.store import tasks
from ca.store.tasks import TaskRecord
from ca.web.bodies import Body, Cursor, Limit, Time, page, rfc3339, tenant_id
from ca.web.callers import Act, AnyCaller, Caller, Reader, Registrar, TheAuthority

router = APIRouter(prefix="/v1/tasks", tags=["tasks"])


class PrincipalBody(Body):
    """On whose behalf: as in a JWT."""

    iss: str = Field(max_length=512)
    sub: str = Field(max_length=512)


class TaskBody(Body):
    """A new task."""

    agent: str
    id: str | None = Field(None, description="Its name; one is made up without it.")
    tenant: str | None = None
    scope: str | None = Field(None, description="Within the agent's ceiling (RFC 6749 3.3).")
    resources: list[str] = Field(default_factory=list, description="Resource indicators (RFC 8707).")
    authorization_details: list[dict[str, Any]] = Field(default_factory=list, description="RFC 9396.")
    deadline: Time | None = Field(None, description="24 hours from now without it.")
    principal: PrincipalBody | None = None


class NarrowerBody(Body):
    """What a running task is left with: what is not named stays."""

    scope: str | None = Field(None, description="Within what it has.")
    resources: list[str] | None = Field(None, description="Of those that it has.")
    authorization_details: list[dict[str, Any]] | None = Field(None, description="Within those that it has.")
    deadline: Time | None = Field(None, description="Earlier than it is.")


@router.post("", status_code=201)
def open_task(authority: TheAuthority, who: Registrar, body: TaskBody) -> dict[str, Any]:
    """Opens a task for an agent."""
    opening = Opening(
        tenant=tenant_id(body.tenant),
        agent=AgentId(body.agent),
        id=TaskId(body.id if body.id is not None else _made_up(authority)),
        reach=Reach(Scope.parse(body.scope), scope.resources(body.resources), Details.of(body.authorization_details)),
        deadline=body.deadline,
        principal=Principal(body.principal.iss, body.principal.sub) if body.principal else None,
    )
    return describe(registry.open_task(authority, opening, who.name))


@router.get("")
def search(
    authority: TheAuthority,
    _caller: Reader,
    tenant: str | None = None,
    agent: str | None = None,
    status: Literal["running", "completed", "cancelled", "expired"] | None = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """Tasks in order of name."""
    with authority.database.read() as connection:
        records = tasks.page(
            connection,
            None if tenant is agent is None else tenant_id(tenant),
            agent=None if agent is None else AgentId(agent),
            state=None if status is None else TaskState(status),
            after=cursor,
            limit=limit + 1,
        )
    last = records[limit - 1] if len(records) > limit else None
    return page([describe(record) for record in records], limit, f"{last.tenant}/{last.task.id}" if last else "")


@router.get("/{task}")
def show(authority: TheAuthority, _caller: Reader, task: str, tenant: str | None = None) -> dict[str, Any]:
    """One task."""
    with authority.database.read() as connection:
        return describe(registry.require(connection, tenant_id(tenant), TaskId(task)))


@router.patch("/{task}")
def narrow(
    authority: TheAuthority, who: Registrar, task: str, body: NarrowerBody, tenant: str | None = None
) -> dict[str, Any]:
    """Takes away from a running task; certificates that were issued say what they said until they are renewed."""
    asked = Narrower(
        scope=None if body.scope is None else Scope.parse(body.scope),
        resources=None if body.resources is None else scope.resources(body.resources),
        details=None if body.authorization_details is None else Details.of(body.authorization_details),
    )
    return describe(registry.narrow(authority, tenant_id(tenant), TaskId(task), asked, body.deadline, who.name))


@router.post("/{task}/complete")
def complete(
    request: Request, authority: TheAuthority, who: AnyCaller, task: str, tenant: str | None = None
) -> dict[str, Any]:
    """Ends a task as done: by an orchestrator, or by its own agent. Its certificates are revoked."""
    if who.agent is not None:
        tenant = who.tenant
        _check_own(authority, who, TaskId(task))
    else:
        who.require(Act.REGISTER)
    return _end(request, authority, who, task, tenant, TaskState.COMPLETED)


@router.post("/{task}/cancel")
def cancel(
    request: Request, authority: TheAuthority, who: Registrar, task: str, tenant: str | None = None
) -> dict[str, Any]:
    """Ends a task as given up. Its certificates are revoked."""
    return _end(request, authority, who, task, tenant, TaskState.CANCELLED)


def describe(record: TaskRecord) -> dict[str, Any]:
    """A task as the API shows it."""
    task = record.task
    return {
        "id": task.id,
        "tenant": record.tenant,
        "agent": task.agent,
        "status": task.state.value,
        "scope": str(task.reach.scope),
        "resources": list(task.reach.resources),
        "authorization_details": list(task.reach.details.items),
        "deadline": rfc3339(task.deadline),
        "principal": {"iss": task.principal.issuer, "sub": task.principal.subject} if task.principal else None,
        "created_at": rfc3339(record.created_at),
        "ended_at": rfc3339(record.ended_at),
    }


def _end(
    request: Request, authority: Authority, who: Caller, task: str, tenant: str | None, state: TaskState
) -> dict[str, Any]:
    ended: Ended = registry.end(authority, tenant_id(tenant), TaskId(task), state, who.name)
    request.app.state.publisher.wake()
    return {**describe(ended.record), "revoked": [str(record.intent.serial) for record in ended.revoked]}


def _check_own(authority: Authority, who: Caller, task: TaskId) -> None:
    with authority.database.read() as connection:
        record = tasks.find(connection, who.tenant, task) if who.tenant else None
    if record is None or record.task.agent != who.agent:
        raise Refused(Reason.NOT_FOUND, "This agent has no such task.")


def _made_up(authority: Authority) -> str:
    """`task-` and 16 characters: 80 random bits."""
    return "task-" + b32encode(authority.random(10)).decode().lower()
