from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca.proofs.claims import Rule, Value

KUBERNETES = {"sub": "s", "kubernetes.io": {"namespace": "agents", "pod": {"name": "p", "uid": "u"}}}

MET: list[tuple[str, Value, dict[str, Any]]] = [
    ("repository", "o/r", {"repository": "o/r"}),
    ("kubernetes.io.namespace", "agents", KUBERNETES),
    ("kubernetes.io.pod.name", "p", KUBERNETES),
    ("/kubernetes.io/namespace", "agents", KUBERNETES),
    ("/kubernetes.io/pod/uid", "u", KUBERNETES),
    ("https://login.example/role", "x", {"https://login.example/role": "x"}),
    ("/https:~1~1login.example~1role", "x", {"https://login.example/role": "x"}),
    ("/a~0b", 1, {"a~b": 1}),
    ("a.b.c", "x", {"a": {"b": {"c": "x"}}}),
    ("a.b.c", "x", {"a.b": {"c": "x"}}),
    ("a.b.c", "x", {"a": {"b.c": "x"}}),
    ("a.b.c", "x", {"a.b.c": "x"}),
    ("protected", True, {"protected": True}),
    ("number", 7, {"number": 7}),
]

NOT_MET: list[tuple[str, Value, dict[str, Any]]] = [
    ("repository", "o/r", {}),
    ("repository", "o/r", {"repository": "o/R"}),
    ("repository", "o/r", {"repository": "o/r "}),
    ("repository", "o/r", {"repository": "o/r2"}),
    ("repository", "o/r", {"repository": ["o/r"]}),
    ("repository", "o/r", {"repository": {"o/r": "o/r"}}),
    ("repository", "o/r", {"repository": None}),
    ("protected", True, {"protected": 1}),
    ("protected", True, {"protected": "true"}),
    ("number", 1, {"number": True}),
    ("number", 1, {"number": 1.0}),
    ("number", 0, {"number": False}),
    ("kubernetes.io.namespace", "agents", {"kubernetes.io": "namespace"}),
    ("kubernetes.io.namespace", "agents", {"kubernetes.io": ["namespace"]}),
    ("/kubernetes/io/namespace", "agents", KUBERNETES),
    ("/kubernetes.io.namespace", "agents", KUBERNETES),
    ("/list/0", "x", {"list": ["x"]}),
    # Which of the two was meant nobody can tell.
    ("a.b", "x", {"a.b": "x", "a": {"b": "y"}}),
    ("a.b", "x", {"a.b": "y", "a": {"b": "x"}}),
    ("a.b", "x", {"a.b": "x", "a": {"b": "x"}}),
]


@pytest.mark.parametrize(("place", "value", "claims"), MET)
def test_met(place: str, value: Value, claims: dict[str, Any]) -> None:
    assert Rule(place, (value,)).is_met(claims)
    assert Rule(place, ("something else", value)).is_met(claims)
    assert not Rule(place, ("something else",)).is_met(claims)


@pytest.mark.parametrize(("place", "value", "claims"), NOT_MET)
def test_not_met(place: str, value: Value, claims: dict[str, Any]) -> None:
    assert not Rule(place, (value,)).is_met(claims)


@pytest.mark.parametrize("place", ["", ".", "a.", ".a", "a..b", "/", "/a//b", "x" * 257])
def test_no_place(place: str) -> None:
    with pytest.raises(ValueError, match="place"):
        Rule(place, ("x",))


def test_a_rule_allows_something() -> None:
    with pytest.raises(ValueError, match="value"):
        Rule("a", ())


NAMES = st.text("ab.", min_size=1, max_size=4)
VALUES = st.recursive(st.sampled_from(["x", 1, True, None]), lambda inner: st.dictionaries(NAMES, inner), max_leaves=8)


@given(st.dictionaries(NAMES, VALUES), st.lists(st.sampled_from("ab"), min_size=1, max_size=4))
def test_a_dotted_rule_is_met_by_what_one_path_alone_leads_to(claims: dict[str, Any], parts: list[str]) -> None:
    """Against a plain oracle: every path through the claims, its names joined by dots."""
    place = ".".join(parts)
    there = [value for path, value in _paths(claims) if path == place]
    assert Rule(place, ("x",)).is_met(claims) == (there == ["x"])


def _paths(value: Any, above: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, inner in value.items() if isinstance(value, dict) else ():
        path = f"{above}.{name}" if above else name
        found.append((path, inner))
        found += _paths(inner, path)
    return found
