from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca.policy.details import Details
from ca.policy.reach import Narrower, Reach
from ca.policy.scope import Scope
from ca.refusals import Reason, Refused
from tests.ca.policy.test_details import ARRAYS

SCOPES = st.frozensets(st.sampled_from("abcd")).map(Scope)
RESOURCES = st.lists(st.sampled_from(["https://a", "https://b", "https://c"]), unique=True).map(tuple)
REACHES = st.builds(Reach, SCOPES, RESOURCES, ARRAYS)
NARROWERS = st.builds(Narrower, st.none() | SCOPES, st.none() | RESOURCES, st.none() | ARRAYS)
EXCEEDED = {Reason.SCOPE_EXCEEDED, Reason.RESOURCE_EXCEEDED, Reason.DETAILS_EXCEEDED}
WIDE = Reach(Scope.parse("read write"), ("https://a",), Details.of([{"type": "pay", "actions": ["a", "b"]}]))


@given(REACHES, REACHES, REACHES)
def test_within_is_an_order(one: Reach, two: Reach, three: Reach) -> None:
    assert one.within(one)
    assert Reach().within(one)
    if one.within(two) and two.within(three):
        assert one.within(three)


@given(REACHES, REACHES)
def test_an_intersection_is_within_both(one: Reach, two: Reach) -> None:
    assert one.intersection(two).within(one)
    assert one.intersection(two).within(two)


@given(NARROWERS, REACHES)
def test_what_is_asked_for_is_had_exactly_or_refused(asked: Narrower, available: Reach) -> None:
    try:
        had = asked.of(available)
    except Refused as refused:
        assert refused.reason in EXCEEDED
        return
    assert had.within(available)
    assert had.scope == (available.scope if asked.scope is None else asked.scope)
    assert had.resources == (available.resources if asked.resources is None else asked.resources)
    assert had.details == (available.details if asked.details is None else asked.details)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (Narrower(scope=Scope.parse("admin")), Reason.SCOPE_EXCEEDED),
        (Narrower(resources=("https://b",)), Reason.RESOURCE_EXCEEDED),
        (Narrower(details=Details.of([{"type": "pay"}])), Reason.DETAILS_EXCEEDED),
    ],
)
def test_each_excess_has_a_reason_of_its_own(asked: Narrower, reason: Reason) -> None:
    with pytest.raises(Refused) as caught:
        asked.of(WIDE)
    assert caught.value.reason is reason
