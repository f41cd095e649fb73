from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca.identifiers import AgentId, Thumbprint
from ca.policy import delegation
from ca.policy.ceiling import AgentState, Asked, Grant, decide
from ca.policy.delegation import Parent
from ca.policy.reach import Reach
from ca.refusals import Reason, Refused
from tests.ca.policy.test_ceiling import AGENT, LIFETIMES, NOW, SCOPES, TASK
from tests.ca.policy.test_reach import NARROWERS, REACHES, Narrower

X5T = Thumbprint.of(b"parent")
PARENT = Parent(AGENT, X5T, TASK.reach, NOW + timedelta(minutes=10))


def asked_of(narrower: Narrower, levels: int | None = None) -> Asked:
    return Asked(scope=narrower.scope, resources=narrower.resources, details=narrower.details, levels=levels)


def generation(parent: Parent, asked: Asked) -> tuple[Grant, Parent]:
    """What a child is granted, and the child as a parent."""
    child = delegation.child(parent.agent, delegation.name(parent.agent.id, b"12345"))
    grant = decide(child, TASK, asked, LIFETIMES, NOW, delegation.bound(parent, asked))
    x5t = Thumbprint.of(parent.x5t.digest)
    end = min(NOW + grant.lifetime, *grant.ends)
    return grant, Parent(child, x5t, grant.reach, end, grant.lineage)


@given(SCOPES, REACHES, st.lists(st.tuples(NARROWERS, st.none() | st.integers(0, 4)), max_size=5))
def test_no_generation_has_more_than_the_one_before(
    ceiling: object, reach: Reach, generations: list[tuple[Narrower, int | None]]
) -> None:
    agent = replace(AGENT, ceiling=ceiling, max_depth=4)
    parent = Parent(agent, X5T, reach, PARENT.not_after)
    first = parent
    for depth, (narrower, levels) in enumerate(generations, 1):
        try:
            grant, child = generation(parent, asked_of(narrower, levels))
        except Refused as refused:
            assert refused.reason.value.endswith("-exceeded")
            return
        assert grant.reach.within(parent.reach)
        assert grant.reach.within(first.reach)
        assert grant.reach.within(TASK.reach)
        assert grant.reach.scope.within(agent.ceiling)
        assert child.not_after <= parent.not_after
        assert grant.lineage is not None
        assert grant.lineage.depth == depth <= grant.lineage.max_depth <= 4
        assert (grant.lineage.parent, grant.lineage.root) == (parent.x5t, X5T)
        assert parent.lineage is None or grant.lineage.max_depth <= parent.lineage.max_depth
        parent = child


@pytest.mark.parametrize(
    ("agent_s", "levels", "max_depth"),
    [(1, None, 1), (3, None, 3), (3, 0, 1), (3, 2, 3), (15, None, 15)],
)
def test_depths(agent_s: int, levels: int | None, max_depth: int) -> None:
    parent = replace(PARENT, agent=replace(AGENT, max_depth=agent_s))
    lineage = delegation.bound(parent, Asked(levels=levels)).lineage
    assert lineage is not None
    assert (lineage.depth, lineage.max_depth) == (1, max_depth)


@pytest.mark.parametrize(("agent_s", "levels"), [(0, None), (1, 1), (3, 3)])
def test_too_deep_is_refused(agent_s: int, levels: int | None) -> None:
    with pytest.raises(Refused) as caught:
        delegation.bound(replace(PARENT, agent=replace(AGENT, max_depth=agent_s)), Asked(levels=levels))
    assert caught.value.reason is Reason.DEPTH_EXCEEDED


def test_a_childs_own_depth_can_be_taken_back() -> None:
    """Of what its certificate says and what the registry has now, the less counts."""
    _, child = generation(PARENT, Asked())
    assert delegation.bound(child, Asked())
    with pytest.raises(Refused) as caught:
        delegation.bound(replace(child, agent=replace(child.agent, max_depth=0)), Asked())
    assert caught.value.reason is Reason.DEPTH_EXCEEDED


def test_a_longer_life_than_the_parents_is_refused() -> None:
    assert delegation.bound(PARENT, Asked(not_after=PARENT.not_after)).ends == (PARENT.not_after,)
    with pytest.raises(Refused) as caught:
        delegation.bound(PARENT, Asked(not_after=PARENT.not_after + timedelta(seconds=1)))
    assert caught.value.reason is Reason.LIFETIME_REFUSED


def test_a_suspended_parent_delegates_nothing() -> None:
    with pytest.raises(Refused) as caught:
        delegation.bound(replace(PARENT, agent=replace(AGENT, state=AgentState.SUSPENDED)), Asked())
    assert caught.value.reason is Reason.AGENT_SUSPENDED


@pytest.mark.parametrize("name", ["other", "bot", "bots.one", "other.bot.one", "bot.one.two", "bot."])
def test_a_child_is_named_below_its_parent(name: str) -> None:
    with pytest.raises(Refused) as caught:
        delegation.child(AGENT, AgentId(name))
    assert caught.value.reason is Reason.FORBIDDEN


def test_an_agent_that_somebody_registered_is_no_child() -> None:
    registered = replace(AGENT, id=AgentId("bot.one"))
    with pytest.raises(Refused) as caught:
        delegation.check_child(AGENT, registered)
    assert caught.value.reason is Reason.FORBIDDEN
    delegation.check_child(AGENT, delegation.child(AGENT, AgentId("bot.one")))
