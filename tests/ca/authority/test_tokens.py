from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from ca.authority import tasks, tokens
from ca.identifiers import AgentId, TaskId, TenantId, Thumbprint
from ca.policy.ceiling import TaskState
from ca.proofs import token as proof
from ca.refusals import Reason, Refused
from ca.store import tokens as store
from ca.store.tokens import TokenRecord
from tests.ca.authority.stage import AGENT, TASK, TENANT, Stage


def create(stage: Stage, **changes: Any) -> tuple[str, TokenRecord]:
    fields: dict[str, Any] = {
        "tenant": TENANT,
        "agent": AGENT,
        "task": TASK,
        "key": None,
        "lifetime": tokens.DEFAULT_LIFETIME,
        "actor": "ops",
    }
    return tokens.create(stage.authority, **{**fields, **changes})


def refusal(stage: Stage, **changes: Any) -> Reason:
    with pytest.raises(Refused) as caught:
        create(stage, **changes)
    assert stage.audited("token.create") == []
    return caught.value.reason


@pytest.mark.parametrize("key", [None, Thumbprint.of(b"key")])
def test_a_token_is_made_and_only_its_digest_kept(ready: Stage, key: Thumbprint | None) -> None:
    text, record = create(ready, key=key)
    now = ready.clock().replace(microsecond=0)
    with ready.database.read() as connection:
        assert store.find(connection, [proof.hash_of(text)]) == {proof.hash_of(text): record}
    assert record == TokenRecord(proof.hash_of(text), TENANT, AGENT, TASK, key, "ops", now, now + timedelta(minutes=5))
    [entry] = ready.audited("token.create")
    assert entry.detail == {"expires_at": record.expires_at.isoformat(), "bound_to_key": key is not None}
    assert text not in str(entry)


def test_two_tokens_differ(ready: Stage) -> None:
    assert create(ready)[0] != create(ready)[0]


@pytest.mark.parametrize("seconds", [1, 3600])
def test_lifetimes_within_the_hour(ready: Stage, seconds: int) -> None:
    _, record = create(ready, lifetime=timedelta(seconds=seconds))
    assert record.expires_at - record.created_at == timedelta(seconds=seconds)


@pytest.mark.parametrize("seconds", [0, -1, 3601, 10**9])
def test_another_lifetime_is_refused(ready: Stage, seconds: int) -> None:
    assert refusal(ready, lifetime=timedelta(seconds=seconds)) is Reason.LIFETIME_REFUSED


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"agent": AgentId("nobody")}, Reason.NOT_FOUND),
        ({"tenant": TenantId("other")}, Reason.NOT_FOUND),
        ({"task": TaskId("nothing")}, Reason.NOT_FOUND),
        ({"agent": AgentId("second")}, Reason.FORBIDDEN),
    ],
    ids=["no agent", "another tenant", "no task", "another agent's task"],
)
def test_for_whom_there_is_nothing_no_token_is_made(ready: Stage, changes: dict[str, Any], reason: Reason) -> None:
    ready.agent("second")
    assert refusal(ready, **changes) is reason


def test_for_a_task_that_ended_no_token_is_made(ready: Stage) -> None:
    tasks.end(ready.authority, TENANT, TASK, TaskState.COMPLETED, "ops")
    assert refusal(ready) is Reason.TASK_ENDED


def test_a_token_without_a_task(ready: Stage) -> None:
    assert create(ready, task=None)[1].task is None
