from __future__ import annotations

from datetime import timedelta

import pytest

from ca.identifiers import AgentId, TaskId, TenantId
from ca.policy.ceiling import TaskState
from ca.policy.reach import Reach
from ca.refusals import Reason, Refused
from ca.store import tasks
from ca.store.tasks import TaskRecord
from ca.store.transaction import Database
from tests.ca.store.rows import NOW, TASK, TENANT, task, written


def added(database: Database, *records: TaskRecord) -> None:
    for record in records:
        written(database, lambda connection, record=record: tasks.add(connection, record))


def found(database: Database, name: str = TASK, tenant: str = TENANT) -> TaskRecord | None:
    with database.read() as connection:
        return tasks.find(connection, TenantId(tenant), TaskId(name))


LEAST = task(reach=Reach(), principal=None)


@pytest.mark.parametrize("record", [task(), LEAST], ids=["full", "least"])
def test_a_task_comes_back_as_it_was(database: Database, record: TaskRecord) -> None:
    added(database, record)
    assert found(database) == record


def test_a_task_is_of_its_tenant(database: Database) -> None:
    added(database, task())
    assert found(database, tenant="other") is None


def test_a_name_is_taken_once_in_a_tenant(database: Database) -> None:
    added(database, task(), task(tenant="other"))
    with pytest.raises(Refused) as caught:
        added(database, task())
    assert caught.value.reason is Reason.CONFLICT


def test_a_task_ends_once(database: Database) -> None:
    added(database, task(), task("other"))

    def end(state: TaskState, at: timedelta) -> bool:
        return written(database, lambda connection: tasks.end(connection, TENANT, TASK, state, NOW + at))

    assert end(TaskState.COMPLETED, timedelta(seconds=1))
    assert not end(TaskState.CANCELLED, timedelta(seconds=2))
    record = found(database)
    assert record is not None
    assert (record.task.state, record.ended_at) == (TaskState.COMPLETED, NOW + timedelta(seconds=1))
    assert found(database, "other") == task("other")


def test_ending_what_does_not_exist_says_so(database: Database) -> None:
    assert not written(database, lambda connection: tasks.end(connection, TENANT, TASK, TaskState.CANCELLED, NOW))


def test_overdue_are_the_running_ones_past_their_deadline(database: Database) -> None:
    added(
        database,
        task("over", deadline=NOW),
        task("long-over", deadline=NOW - timedelta(days=1)),
        task("ahead", deadline=NOW + timedelta(seconds=1)),
        task("ended", deadline=NOW, state=TaskState.CANCELLED),
    )
    with database.read() as connection:
        assert {one.task.id for one in tasks.overdue(connection, NOW, 10)} == {"over", "long-over"}
        assert len(tasks.overdue(connection, NOW, 1)) == 1


def test_pages_narrow_and_give_every_task_once(database: Database) -> None:
    added(
        database,
        task("a"),
        task("b", state=TaskState.CANCELLED),
        task("c", agent=AgentId("other")),
        task("a", tenant="b"),
    )
    with database.read() as connection:
        first = tasks.page(connection, None, limit=2)
        rest = tasks.page(connection, None, after="acme/b", limit=9)
        running = tasks.page(connection, TENANT, state=TaskState.RUNNING, limit=9)
        others = tasks.page(connection, TENANT, agent=AgentId("other"), limit=9)
    assert [(one.tenant, one.task.id) for one in first + rest] == [
        ("acme", "a"),
        ("acme", "b"),
        ("acme", "c"),
        ("b", "a"),
    ]
    assert [one.task.id for one in running] == ["a", "c"]
    assert [one.task.id for one in others] == ["c"]
