"""Which calls a task allows, as a table, and that whoever has less never may do more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca.policy.calls import Call, Place, permits
from ca.policy.details import NO_DETAILS, Details
from ca.policy.reach import Reach
from tests.ca.policy.test_binding import STANDING, TASK

ANYWHERE = Place()
READ = Call("tools/call", "read_file")
LIST = Call("tools/list")
TOOL = {"type": "mcp", "actions": ["tools/call"], "datatypes": ["read_file"]}


def allowed(certificate: Details, task: Details, call: Call, place: Place = ANYWHERE) -> bool:
    standing = replace(STANDING, reach=Reach(details=certificate), task=replace(TASK, reach=Reach(details=task)))
    return permits(standing, standing.reach.intersection(Reach(details=task)), call, place)


def has(items: list[dict[str, Any]], call: Call, place: Place = ANYWHERE) -> bool:
    details = Details.of(items)
    return allowed(details, details, call, place)


@pytest.mark.parametrize(
    ("items", "call", "expected"),
    [
        ([], READ, True),
        ([], Call(), True),
        ([TOOL], READ, True),
        ([TOOL], Call("tools/call", "write_file"), False),
        ([TOOL], Call("tools/call", "READ_FILE"), False),
        ([TOOL], Call("prompts/get", "read_file"), False),
        ([TOOL], Call("tools/call"), False),
        ([TOOL], Call(None, "read_file"), False),
        ([TOOL], Call(), False),
        ([TOOL], LIST, False),
        ([TOOL, {"type": "mcp", "actions": ["tools/list"]}], LIST, True),
        ([TOOL, {"type": "mcp", "actions": ["tools/list"]}], Call("tools/call", "write_file"), False),
        ([{"type": "mcp", "datatypes": ["read_file"]}], Call("anything", "read_file"), True),
        ([{"type": "mcp", "actions": []}], READ, False),
        ([{"type": "mcp"}], Call(), True),
        # One detail must cover it: nothing is put together from two.
        (
            [
                {"type": "mcp", "actions": ["tools/call"], "datatypes": ["a"]},
                {"type": "mcp", "actions": ["prompts/get"], "datatypes": ["b"]},
            ],
            Call("tools/call", "b"),
            False,
        ),
    ],
)
def test_one_detail_covers_the_call(items: list[dict[str, Any]], call: Call, expected: bool) -> None:
    assert has(items, call) is expected


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (Place(), True),
        (Place("https://a.example"), True),
        (Place("https://b.example"), False),
        (Place(kind="mcp"), True),
        (Place(kind="pay"), False),
    ],
)
def test_it_covers_it_here_and_in_this_language(place: Place, expected: bool) -> None:
    assert has([{**TOOL, "locations": ["https://a.example"]}], READ, place) is expected


def test_a_detail_of_another_kind_allows_no_call() -> None:
    assert has([TOOL, {"type": "pay"}], LIST)
    assert not has([TOOL, {"type": "pay"}], LIST, Place(kind="mcp"))


def test_what_was_narrowed_to_nothing_allows_nothing() -> None:
    """A child that asks for no details of a task that has them is not freer than its parent."""
    assert not allowed(NO_DETAILS, Details.of([TOOL]), READ)
    assert not allowed(Details.of([TOOL]), NO_DETAILS, READ)


WORDS = st.none() | st.lists(st.sampled_from(["a", "b"]), max_size=2, unique=True)
ITEMS = st.builds(
    lambda kind, **lists: {"type": kind, **{name: value for name, value in lists.items() if value is not None}},
    st.sampled_from(["x", "y"]),
    actions=WORDS,
    datatypes=WORDS,
    locations=WORDS,
)
DETAILS = st.lists(ITEMS, max_size=3).map(Details.of)
CALLS = st.builds(Call, st.sampled_from([None, "a", "b"]), st.sampled_from([None, "a", "b"]))
PLACES = st.builds(Place, st.sampled_from([None, "a"]), st.sampled_from([None, "x"]))


@given(task=DETAILS, more=DETAILS, less=DETAILS, call=CALLS, place=PLACES)
def test_whoever_has_less_may_do_no_more(task: Details, more: Details, less: Details, call: Call, place: Place) -> None:
    if less.within(more) and more.within(task) and allowed(less, task, call, place):
        assert allowed(more, task, call, place)


@given(task=DETAILS, certificate=DETAILS, call=CALLS, place=PLACES)
def test_neither_certificate_nor_task_is_exceeded(
    task: Details, certificate: Details, call: Call, place: Place
) -> None:
    if (task or certificate) and allowed(certificate, task, call, place):
        assert allowed(task, task, call, place)
        assert allowed(certificate, certificate, call, place)
