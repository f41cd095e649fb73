from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from ca.authority import tasks
from ca.authority.tasks import LONGEST
from ca.identifiers import TaskId, TenantId, Thumbprint
from ca.policy.ceiling import TaskState
from ca.policy.details import NO_DETAILS, Details
from ca.policy.reach import Narrower
from ca.refusals import Reason, Refused
from ca.store.status import Good, Revoked
from ca.store.tasks import TaskRecord
from tests.ca.authority.stage import AGENT, TASK, TENANT, Stage


def found(stage: Stage, name: str = TASK) -> TaskRecord:
    with stage.database.read() as connection:
        return tasks.require(connection, TENANT, TaskId(name))


def refusal(stage: Stage, **changes: Any) -> Reason:
    with pytest.raises(Refused) as caught:
        stage.task("new", **changes)
    return caught.value.reason


def test_a_task_is_opened_within_the_ceiling(stage: Stage) -> None:
    stage.agent()
    record = stage.task()
    assert found(stage) == record
    assert record.task.state is TaskState.RUNNING
    assert record.task.deadline == stage.clock().replace(microsecond=0) + timedelta(hours=24)
    [entry] = stage.audited("task.open")
    assert (entry.actor, entry.agent, entry.task) == ("ops", AGENT, TASK)


def test_a_scope_beyond_the_ceiling_is_refused_with_the_ceiling(ready: Stage) -> None:
    with pytest.raises(Refused, match="'read write'") as caught:
        ready.task("new", scope="read admin")
    assert caught.value.reason is Reason.SCOPE_EXCEEDED


def test_a_task_of_no_agent_is_refused(stage: Stage) -> None:
    assert refusal(stage) is Reason.NOT_FOUND


def test_a_name_is_taken_once(ready: Stage) -> None:
    with pytest.raises(Refused) as caught:
        ready.task()
    assert caught.value.reason is Reason.CONFLICT


@pytest.mark.parametrize(
    ("apart", "accepted"),
    [
        (timedelta(0), False),
        (timedelta(days=-1), False),
        (timedelta(seconds=2), True),
        (LONGEST, True),
        (LONGEST + timedelta(seconds=2), False),
    ],
)
def test_deadlines(ready: Stage, apart: timedelta, accepted: bool) -> None:
    deadline = ready.clock() + apart
    if accepted:
        assert ready.task("new", deadline=deadline).task.deadline == deadline.replace(microsecond=0)
    else:
        assert refusal(ready, deadline=deadline) is Reason.LIFETIME_REFUSED


def test_details_are_digested_in_their_canonical_form(ready: Stage) -> None:
    """RFC 8785: the order of members and the white space do not matter."""
    one = ready.task("one", details=[{"type": "a", "b": 1.0, "c": "\u00e9"}])
    two = ready.task("two", details=[{"c": "\u00e9", "b": 1, "type": "a"}])
    expected = Thumbprint.of('[{"b":1,"c":"\u00e9","type":"a"}]'.encode()).digest
    assert one.task.reach.details.digest == two.task.reach.details.digest == expected
    assert ready.task("none").task.reach.details.digest is None


NESTED: list[Any] = []
for _ in range(100_000):
    NESTED = [NESTED]

BAD_DETAILS = {
    "no type": [{"limit": 5}],
    "empty type": [{"type": ""}],
    "type is a number": [{"type": 5}],
    "one without a type": [{"type": "a"}, {}],
    "a number that JSON cannot carry": [{"type": "a", "n": 2**60}],
    "not a number": [{"type": "a", "n": float("nan")}],
    "infinity": [{"type": "a", "n": float("inf")}],
    "too long": [{"type": "a" * 17_000}],
    "too deep": [{"type": "a", "n": NESTED}],
}


@pytest.mark.parametrize("details", BAD_DETAILS.values(), ids=BAD_DETAILS.keys())
def test_bad_details_are_refused(ready: Stage, details: list[dict[str, Any]]) -> None:
    assert refusal(ready, details=details) is Reason.MALFORMED


@pytest.mark.parametrize("state", [TaskState.COMPLETED, TaskState.CANCELLED])
def test_the_end_of_a_task_revokes_its_certificates_and_no_other(ready: Stage, state: TaskState) -> None:
    ready.task("other")
    mine, other, none = [ready.enrolled(), ready.enrolled()], ready.enrolled(task="other"), ready.enrolled(task=None)
    ended = tasks.end(ready.authority, TENANT, TASK, state, "ops")
    assert {one.intent.serial for one in ended.revoked} == {one.intent.serial for one in mine}
    assert ended.record == found(ready)
    assert (ended.record.task.state, ended.record.ended_at) == (state, ready.clock().replace(microsecond=0))
    assert {type(ready.status(one.intent)) for one in mine} == {Revoked}
    assert {ready.record(one).reason for one in mine} == {"cessationOfOperation"}
    assert [ready.status(one.intent) for one in (other, none)] == [Good(), Good()]


def test_a_task_ends_once(ready: Stage) -> None:
    ready.enrolled()
    tasks.end(ready.authority, TENANT, TASK, TaskState.COMPLETED, "ops")
    ready.clock.forward(minutes=1)
    again = tasks.end(ready.authority, TENANT, TASK, TaskState.CANCELLED, "ops")
    assert again.revoked == []
    assert again.record.task.state is TaskState.COMPLETED
    assert len(ready.audited("task.completed")) == 1
    assert ready.audited("task.cancelled") == []


@pytest.mark.parametrize(("tenant", "task"), [("acme", "nothing"), ("other", TASK)])
def test_a_task_that_is_not_there_is_not_found(ready: Stage, tenant: str, task: str) -> None:
    with pytest.raises(Refused) as caught:
        tasks.end(ready.authority, TenantId(tenant), TaskId(task), TaskState.CANCELLED, "ops")
    assert caught.value.reason is Reason.NOT_FOUND
    assert found(ready).task.state is TaskState.RUNNING


def test_overdue_tasks_expire_and_the_others_run_on(ready: Stage) -> None:
    ready.task("short", deadline=ready.clock() + timedelta(minutes=2))
    issued = ready.enrolled(task="short")
    assert tasks.expire(ready.authority) == []
    ready.clock.forward(minutes=2, seconds=1)
    [ended] = tasks.expire(ready.authority)
    assert ended.record.task.id == "short"
    assert found(ready, "short").task.state is TaskState.EXPIRED
    assert found(ready).task.state is TaskState.RUNNING
    assert ready.status(issued.intent) == Good(), "it had ended by itself"
    assert issued.intent.not_after <= ready.clock()
    assert tasks.expire(ready.authority) == []
    [entry] = ready.audited("task.expired")
    assert entry.actor == "authority"


def test_a_limit_is_not_narrowed_away(ready: Stage) -> None:
    """Without any details a task would be one that they never limited."""
    details = Details.of([{"type": "mcp", "actions": ["a", "b"]}])
    ready.task("limited", details=details.items)
    less = Narrower(details=Details.of([{"type": "mcp", "actions": ["a"]}]))
    with pytest.raises(Refused) as caught:
        tasks.narrow(ready.authority, TENANT, TaskId("limited"), Narrower(details=NO_DETAILS), None, "ops")
    assert caught.value.reason is Reason.MALFORMED
    assert found(ready, "limited").task.reach.details == details
    tasks.narrow(ready.authority, TENANT, TaskId("limited"), less, None, "ops")
    assert found(ready, "limited").task.reach.details == less.details
    ready.task("free")
    tasks.narrow(ready.authority, TENANT, TaskId("free"), Narrower(details=NO_DETAILS), None, "ops")
