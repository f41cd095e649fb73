from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca.identifiers import Thumbprint
from ca.policy.details import MAX_ITEMS, NO_DETAILS, Details, is_within
from ca.refusals import Reason, Refused

WORDS = st.lists(st.sampled_from("abc"), max_size=3)
DETAILS = st.fixed_dictionaries(
    {"type": st.sampled_from(["pay", "read"])},
    optional={
        "locations": WORDS,
        "actions": WORDS,
        "datatypes": WORDS,
        "privileges": WORDS,
        "identifier": st.sampled_from(["x", "y"]),
        "limit": st.sampled_from([1, 1.5, True, None, "1", [1], {"a": 1}]),
    },
)
ARRAYS = st.lists(DETAILS, max_size=4).map(Details.of)


@pytest.mark.parametrize(
    ("asked", "ceiling", "within"),
    [
        ({"type": "a"}, {"type": "a"}, True),
        ({"type": "a"}, {"type": "b"}, False),
        ({"type": "a", "actions": ["r"]}, {"type": "a", "actions": ["r", "w"]}, True),
        ({"type": "a", "actions": ["r", "w"]}, {"type": "a", "actions": ["r"]}, False),
        ({"type": "a", "actions": []}, {"type": "a", "actions": ["r"]}, True),
        # A list that is left out is no limit.
        ({"type": "a", "actions": ["r"]}, {"type": "a"}, True),
        ({"type": "a"}, {"type": "a", "actions": ["r"]}, False),
        ({"type": "a", "locations": ["https://x"]}, {"type": "a", "locations": ["https://y"]}, False),
        ({"type": "a", "identifier": "1"}, {"type": "a"}, False),
        ({"type": "a"}, {"type": "a", "identifier": "1"}, False),
        # What nobody here knows is equal or refused.
        ({"type": "a", "limit": 5}, {"type": "a", "limit": 10}, False),
        ({"type": "a", "limit": 1}, {"type": "a", "limit": True}, False),
        ({"type": "a", "limit": 1}, {"type": "a", "limit": 1.0}, True),
        ({"type": "a", "to": {"b": 1, "a": 2}}, {"type": "a", "to": {"a": 2, "b": 1}}, True),
    ],
)
def test_within(asked: dict[str, Any], ceiling: dict[str, Any], within: bool) -> None:
    assert is_within(asked, ceiling) is within
    assert Details.of([asked]).within(Details.of([ceiling])) is within


@given(ARRAYS, ARRAYS, ARRAYS)
def test_within_is_an_order(one: Details, two: Details, three: Details) -> None:
    assert one.within(one)
    assert NO_DETAILS.within(one)
    if one.within(two) and two.within(three):
        assert one.within(three)


@given(ARRAYS, ARRAYS)
def test_an_intersection_is_within_both(one: Details, two: Details) -> None:
    both = one.intersection(two)
    assert both.within(one)
    assert both.within(two)
    if one.within(two):
        assert one.within(both)


def test_as_many_as_there_may_be_are_compared_in_no_time() -> None:
    """Others wait meanwhile: each is compared with those alike in all but their lists."""
    few = [{"type": "pay", "n": n, "actions": ["a", "b", str(n)]} for n in range(MAX_ITEMS)]
    one, two = Details.of(few), Details.of([{**item, "actions": ["a", "b"]} for item in few])
    begun = time.process_time()
    for _ in range(10):
        assert two.within(one)
        assert one.intersection(two) == two
    assert (time.process_time() - begun) / 10 < 0.02
    with pytest.raises(Refused) as caught:
        Details.of([*few, {"type": "pay"}])
    assert caught.value.reason is Reason.MALFORMED


def test_an_intersection_of_many_with_many_is_never_refused() -> None:
    """What of either is within the other may be more than anybody can send."""
    one = Details.of([{"type": "t", "n": n, "actions": ["a", "b"], "locations": ["x"]} for n in range(40)])
    two = Details.of([{"type": "t", "n": n, "actions": ["b", "a"], "locations": ["x"]} for n in range(40)])
    assert one.within(one.intersection(two))


@given(ARRAYS)
def test_equal_are_those_of_one_canonical_form(one: Details) -> None:
    spelled_otherwise = Details.of([dict(reversed(detail.items())) for detail in one.items])
    assert spelled_otherwise == one
    assert one.intersection(one) == one
    assert (one.digest is None) is (not one)


def test_the_digest_is_over_the_canonical_form() -> None:
    assert Details.of([{"type": "a", "b": 1.0}]).digest == Thumbprint.of(b'[{"b":1,"type":"a"}]').digest
    assert NO_DETAILS.digest is None


@pytest.mark.parametrize("wrong", [[{"type": "a", "actions": "r"}], [{"type": "a", "locations": [1]}], [{}]])
def test_what_is_not_of_the_form_of_rfc_9396_is_refused(wrong: list[dict[str, Any]]) -> None:
    with pytest.raises(Refused) as caught:
        Details.of(wrong)
    assert caught.value.reason is Reason.MALFORMED
