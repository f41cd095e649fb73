from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca.identifiers import AgentId, TaskId, TenantId
from ca.policy.ceiling import Agent, AgentState, Asked, Grant, Lifetimes, Task, TaskState, decide
from ca.policy.details import Details
from ca.policy.reach import Reach
from ca.policy.scope import Scope
from ca.refusals import Reason, Refused

NOW = datetime(2031, 5, 6, 7, 8, 9, 500_000, tzinfo=UTC)
LIFETIMES = Lifetimes(timedelta(minutes=15), timedelta(minutes=1), timedelta(minutes=60))
AGENT = Agent(TenantId("acme"), AgentId("bot"), AgentState.ACTIVE, Scope.parse("read write"), None, 3)
TASK = Task(
    id=TaskId("t"),
    agent=AGENT.id,
    state=TaskState.RUNNING,
    reach=Reach(Scope.parse("read"), ("https://a.example",), Details.of([{"type": "a", "actions": ["b", "c"]}])),
    deadline=NOW + timedelta(hours=1),
    principal=None,
)

SCOPES = st.frozensets(st.sampled_from("abcdef")).map(Scope)
MOMENTS = st.timedeltas(timedelta(hours=-2), timedelta(days=2)).map(lambda apart: NOW + apart)
AGENTS = st.builds(
    lambda ceiling, lifetime, state: replace(AGENT, ceiling=ceiling, max_lifetime=lifetime, state=state),
    SCOPES,
    st.none() | st.timedeltas(timedelta(seconds=1), timedelta(hours=3)),
    st.sampled_from(AgentState),
)
TASKS = st.builds(
    lambda scope, deadline, state: replace(TASK, reach=Reach(scope), deadline=deadline, state=state),
    SCOPES,
    MOMENTS,
    st.sampled_from(TaskState),
)
ASKED = st.builds(
    Asked, st.none() | st.sampled_from([TaskId("t"), TaskId("other")]), st.none() | SCOPES, st.none() | MOMENTS
)
POLICIES = st.lists(st.timedeltas(timedelta(seconds=1), timedelta(hours=2)), min_size=3, max_size=3).map(
    lambda three: Lifetimes(sorted(three)[1], sorted(three)[0], sorted(three)[2])
)


def refusal(agent: Agent = AGENT, task: Task | None = TASK, asked: Asked = Asked()) -> Reason:  # noqa: B008 (frozen)
    with pytest.raises(Refused) as caught:
        decide(agent, task, asked, LIFETIMES, NOW)
    return caught.value.reason


@given(AGENTS, st.none() | TASKS, ASKED, POLICIES)
def test_nothing_widens(agent: Agent, task: Task | None, asked: Asked, lifetimes: Lifetimes) -> None:
    try:
        grant = decide(agent, task, asked, lifetimes, NOW)
    except Refused as refused:
        assert refused.reason in (
            Reason.AGENT_SUSPENDED,
            Reason.TASK_ENDED,
            Reason.FORBIDDEN,
            Reason.SCOPE_EXCEEDED,
            Reason.LIFETIME_REFUSED,
        )
        return
    assert agent.state is AgentState.ACTIVE
    assert grant.reach.scope.within(agent.ceiling)
    assert grant.lifetime <= lifetimes.longest
    assert agent.max_lifetime is None or grant.lifetime <= agent.max_lifetime
    if asked.scope is not None:
        assert grant.reach.scope == asked.scope
    if asked.not_after is not None:
        assert NOW + grant.lifetime <= asked.not_after
    if task is None:
        assert not grant.reach.scope
        assert asked.task is None
    else:
        assert task.state is TaskState.RUNNING
        assert task.deadline > NOW
        assert grant.reach.within(task.reach)
        assert task.deadline in grant.ends


@given(AGENTS, TASKS, ASKED, SCOPES)
def test_a_narrower_ceiling_never_gives_more(agent: Agent, task: Task, asked: Asked, other: Scope) -> None:
    """Monotone: what was granted under less is granted, at least, under more."""
    narrow = replace(agent, ceiling=agent.ceiling.intersection(other))
    try:
        under_less = decide(narrow, task, asked, LIFETIMES, NOW)
    except Refused:
        return
    assert under_less.reach.within(decide(agent, task, asked, LIFETIMES, NOW).reach)


@given(SCOPES, SCOPES, SCOPES)
def test_a_grant_of_a_grant_stays_within_the_first_ceiling(ceiling: Scope, scope: Scope, asked: Scope) -> None:
    """Transitive: a task opened with what a grant gave cannot reach past the agent that had it."""
    agent = replace(AGENT, ceiling=ceiling)
    first = decide(agent, replace(TASK, reach=Reach(scope)), Asked(), LIFETIMES, NOW)
    try:
        second = decide(agent, replace(TASK, reach=first.reach), Asked(scope=asked), LIFETIMES, NOW)
    except Refused as refused:
        assert refused.reason is Reason.SCOPE_EXCEEDED
        assert not asked.within(first.reach.scope)
    else:
        assert second.reach.within(first.reach)
        assert second.reach.scope.within(ceiling)


def test_without_asking_all_that_may_be_had_is_granted() -> None:
    grant = decide(AGENT, TASK, Asked(), LIFETIMES, NOW)
    assert grant == Grant(AGENT, TASK, TASK.reach, timedelta(minutes=15), (TASK.deadline,))


def test_without_a_task_there_is_no_scope() -> None:
    grant = decide(AGENT, None, Asked(), LIFETIMES, NOW)
    assert grant == Grant(AGENT, None, Reach(), timedelta(minutes=15), ())


def test_a_suspended_agent_is_refused() -> None:
    assert refusal(replace(AGENT, state=AgentState.SUSPENDED)) is Reason.AGENT_SUSPENDED


@pytest.mark.parametrize("state", [state for state in TaskState if state is not TaskState.RUNNING])
def test_a_task_that_does_not_run_is_refused(state: TaskState) -> None:
    assert refusal(task=replace(TASK, state=state)) is Reason.TASK_ENDED


@pytest.mark.parametrize("deadline", [NOW, NOW - timedelta(microseconds=1)])
def test_a_task_past_its_deadline_is_refused_though_nobody_ended_it(deadline: datetime) -> None:
    assert refusal(task=replace(TASK, deadline=deadline)) is Reason.TASK_ENDED


def test_a_task_a_moment_before_its_deadline_is_granted() -> None:
    assert decide(AGENT, replace(TASK, deadline=NOW + timedelta(microseconds=1)), Asked(), LIFETIMES, NOW)


@pytest.mark.parametrize("task", [TASK, None])
def test_another_task_than_the_proofs_is_refused(task: Task | None) -> None:
    assert refusal(task=task, asked=Asked(task=TaskId("other"))) is Reason.FORBIDDEN


@pytest.mark.parametrize(
    "scope", ["write", "read write", "admin"], ids=["ceiling's", "more than the task's", "foreign"]
)
def test_a_wider_scope_is_refused_and_not_cut_down(scope: str) -> None:
    assert refusal(asked=Asked(scope=Scope.parse(scope))) is Reason.SCOPE_EXCEEDED


def test_a_scope_without_a_task_is_refused() -> None:
    assert refusal(task=None, asked=Asked(scope=Scope.parse("read"))) is Reason.SCOPE_EXCEEDED


def test_the_empty_scope_may_always_be_asked_for() -> None:
    assert not decide(AGENT, TASK, Asked(scope=Scope()), LIFETIMES, NOW).reach.scope
    assert not decide(AGENT, None, Asked(scope=Scope()), LIFETIMES, NOW).reach.scope


@pytest.mark.parametrize(
    ("agent_limit", "not_after", "expected"),
    [
        (None, None, timedelta(minutes=15)),
        (timedelta(minutes=5), None, timedelta(minutes=5)),
        (timedelta(hours=5), None, timedelta(minutes=15)),
        (None, NOW + timedelta(minutes=40), timedelta(minutes=40)),
        (None, NOW + timedelta(days=9), timedelta(minutes=60)),
        (timedelta(minutes=30), NOW + timedelta(days=9), timedelta(minutes=30)),
        (None, NOW + timedelta(minutes=1), timedelta(minutes=1)),
    ],
)
def test_lifetimes(agent_limit: timedelta | None, not_after: datetime | None, expected: timedelta) -> None:
    agent = replace(AGENT, max_lifetime=agent_limit)
    assert decide(agent, TASK, Asked(not_after=not_after), LIFETIMES, NOW).lifetime == expected


@pytest.mark.parametrize("wanted", [timedelta(seconds=59), timedelta(0), timedelta(days=-1)])
def test_a_lifetime_below_the_shortest_is_refused(wanted: timedelta) -> None:
    assert refusal(asked=Asked(not_after=NOW + wanted)) is Reason.LIFETIME_REFUSED


def test_suspension_is_said_before_anything_about_the_task() -> None:
    ended = replace(TASK, state=TaskState.CANCELLED)
    assert refusal(replace(AGENT, state=AgentState.SUSPENDED), ended) is Reason.AGENT_SUSPENDED


def test_what_was_asked_has_one_spelling() -> None:
    """Another process of another version of the same request must recognise it: no order of a set, no object's name."""
    asked = Asked(scope=Scope.parse("write read"), details=Details.of([{"type": "a"}]), levels=2)
    digest = Details.of([{"type": "a"}]).digest
    assert digest is not None
    assert asked.spelled == f"None read write None None {digest.hex()} 2"
    different = {
        Asked().spelled,
        Asked(scope=Scope()).spelled,
        Asked(details=Details()).spelled,
        Asked(resources=()).spelled,
    }
    assert len(different) == 4
