"""The hook's decision, as a table and as properties."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca.identifiers import AgentId, TaskId, TenantId
from ca.policy import binding
from ca.policy.binding import ANYTHING, Allowed, Denied, Standing, Wanted, Why, decide
from ca.policy.ceiling import Agent, AgentState, Task, TaskState
from ca.policy.details import Details
from ca.policy.reach import Narrower, Reach
from ca.policy.scope import Scope

NOW = datetime(2031, 5, 6, 7, 8, 9, 250_000, tzinfo=UTC)
LONGEST = timedelta(minutes=5)
PAY = Details.of([{"type": "pay", "actions": ["read", "write"]}])
REACH = Reach(Scope.parse("read write"), ("https://a.example", "https://b.example"), PAY)
AGENT = Agent(TenantId("acme"), AgentId("bot"), AgentState.ACTIVE, Scope.parse("read write"), None, 2)
PARENT = replace(AGENT, id=AgentId("boss"))
TASK = Task(TaskId("t"), AGENT.id, TaskState.RUNNING, REACH, NOW + timedelta(hours=1), None)
STANDING = Standing(
    names=frozenset({"https://ca.example/clients/acme/bot"}),
    jkt="own",
    not_before=NOW - timedelta(minutes=1),
    not_after=NOW.replace(microsecond=0) + timedelta(minutes=15),
    revoked_at=None,
    held=False,
    fell_with_its_parent=False,
    agent=AGENT,
    above=(),
    for_task=True,
    task=TASK,
    reach=REACH,
)
SUSPENDED = replace(AGENT, state=AgentState.SUSPENDED)


def why(standing: Standing, wanted: Wanted = ANYTHING, now: datetime = NOW) -> Why:
    denied = decide(standing, wanted, now, LONGEST)
    assert isinstance(denied, Denied)
    return denied.why


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"revoked_at": NOW}, Why.REVOKED),
        ({"revoked_at": NOW, "held": True}, Why.ON_HOLD),
        ({"revoked_at": NOW, "fell_with_its_parent": True}, Why.DELEGATION_REVOKED),
        ({"not_after": NOW.replace(microsecond=0) - timedelta(seconds=1)}, Why.EXPIRED),
        ({"revoked_at": NOW, "not_after": NOW - timedelta(hours=1)}, Why.REVOKED),
        ({"not_before": NOW + timedelta(seconds=1)}, Why.NOT_YET_VALID),
        ({"agent": SUSPENDED}, Why.AGENT_SUSPENDED),
        ({"agent": None}, Why.AGENT_SUSPENDED),
        ({"above": (PARENT, SUSPENDED)}, Why.DELEGATION_REVOKED),
        ({"above": (None,)}, Why.DELEGATION_REVOKED),
        ({"task": None}, Why.TASK_ENDED),
        ({"task": replace(TASK, state=TaskState.COMPLETED)}, Why.TASK_ENDED),
        ({"task": replace(TASK, deadline=NOW)}, Why.TASK_ENDED),
    ],
)
def test_what_does_not_stand_has_no_token(changes: dict[str, Any], expected: Why) -> None:
    assert why(replace(STANDING, **changes)) is expected


def test_the_last_second_of_a_life_counts() -> None:
    last = replace(STANDING, not_after=NOW.replace(microsecond=0))
    assert isinstance(decide(last, ANYTHING, NOW, LONGEST), Allowed)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(client_id="another"), Why.CLIENT_MISMATCH),
        (Wanted(jkt="another"), Why.KEY_MISMATCH),
        (Wanted(narrower=Narrower(scope=Scope.parse("read admin"))), Why.SCOPE_EXCEEDED),
        (Wanted(narrower=Narrower(resources=("https://c.example",))), Why.RESOURCE_EXCEEDED),
        (Wanted(narrower=Narrower(details=Details.of([{"type": "pay"}]))), Why.DETAILS_EXCEEDED),
    ],
)
def test_what_does_not_fit_has_no_token(wanted: Wanted, expected: Why) -> None:
    assert why(STANDING, wanted) is expected


def test_what_is_wanted_is_granted_and_no_more() -> None:
    narrower = Narrower(Scope.parse("read"), ("https://b.example",), Details.of([{"type": "pay", "actions": ["read"]}]))
    own = Wanted(client_id="https://ca.example/clients/acme/bot", narrower=narrower, jkt="own")
    allowed = decide(STANDING, own, NOW, LONGEST)
    assert isinstance(allowed, Allowed)
    assert allowed.reach == narrower.of(REACH)
    whole = decide(STANDING, ANYTHING, NOW, LONGEST)
    assert isinstance(whole, Allowed)
    assert whole.reach == REACH


def test_a_certificate_without_a_task_says_who_and_grants_nothing() -> None:
    bare = replace(STANDING, for_task=False, task=None, reach=Reach())
    assert decide(bare, ANYTHING, NOW, LONGEST) == Allowed(Reach(), NOW.replace(microsecond=0) + LONGEST)
    assert why(bare, Wanted(narrower=Narrower(scope=Scope.parse("read")))) is Why.SCOPE_EXCEEDED


ENDS = st.timedeltas(timedelta(seconds=2), timedelta(hours=2))


@given(life=ENDS, deadline=ENDS, longest=ENDS, asked=st.none() | ENDS)
def test_a_token_outlives_nothing_that_it_stands_on(
    life: timedelta, deadline: timedelta, longest: timedelta, asked: timedelta | None
) -> None:
    """Scenario 11."""
    standing = replace(STANDING, not_after=NOW + life, task=replace(TASK, deadline=NOW + deadline))
    wanted = Wanted(expires=None if asked is None else NOW + asked)
    allowed = decide(standing, wanted, NOW, longest)
    assert isinstance(allowed, Allowed)
    ends = [life, deadline, longest, *([asked] if asked is not None else [])]
    assert timedelta(0) <= NOW + min(ends) - allowed.expires < timedelta(seconds=1)


WORDS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=3)
SCOPES = WORDS.map(lambda words: Scope(frozenset(words)))
URIS = WORDS.map(lambda words: tuple(f"https://{word}.example" for word in dict.fromkeys(words)))
REACHES = st.builds(Reach, SCOPES, URIS)
WISHES = st.builds(Narrower, st.none() | SCOPES, st.none() | URIS)


@given(certificate=REACHES, task=REACHES, ceiling=SCOPES, above=SCOPES, narrower=WISHES)
def test_nothing_widens(certificate: Reach, task: Reach, ceiling: Scope, above: Scope, narrower: Narrower) -> None:
    standing = replace(
        STANDING,
        agent=replace(AGENT, ceiling=ceiling),
        above=(replace(PARENT, ceiling=above),),
        task=replace(TASK, reach=task),
        reach=certificate,
    )
    decision = decide(standing, Wanted(narrower=narrower), NOW, LONGEST)
    if isinstance(decision, Allowed):
        assert decision.reach.within(certificate)
        assert decision.reach.within(task)
        assert decision.reach.scope.within(ceiling.intersection(above))
        # What was granted can be asked for, and is the same again.
        same = Narrower(decision.reach.scope, decision.reach.resources, decision.reach.details)
        assert decide(standing, Wanted(narrower=same), NOW, LONGEST) == decision


@pytest.mark.parametrize("why_", Why)
@pytest.mark.parametrize("grant", [None, "client_credentials", "authorization_code", "refresh_token"])
def test_every_refusal_has_an_error_to_relay(why_: Why, grant: str | None) -> None:
    """RFC 6749 5.2: 401 goes with invalid_client alone, and a description has no quotes."""
    error = binding.oauth_error(why_, grant)
    assert (error.status == 401) is (error.error == "invalid_client")
    assert error.description.isascii()
    assert '"' not in error.description
    if why_ is Why.TASK_ENDED:
        assert error.error == ("unauthorized_client" if grant in (None, "client_credentials") else "invalid_grant")
