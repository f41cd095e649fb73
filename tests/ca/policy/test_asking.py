from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca.identifiers import AgentId, TaskId, TenantId
from ca.policy.asking import ACTS, Asking
from ca.policy.ceiling import Principal
from ca.policy.scope import Scope

ASKING = Asking(
    act="enrol",
    tenant=TenantId("acme"),
    agent=AgentId("planner"),
    task=TaskId("nightly-7"),
    scope=Scope.parse("read pay"),
    resources=("https://pay.example/v1",),
    lifetime=timedelta(minutes=15),
    proof="kubernetes",
    depth=0,
    principal=Principal("https://idp.example", "alice"),
    now=datetime(2031, 5, 6, 22, 30, tzinfo=UTC),
)

NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,5}", fullmatch=True)
ASKINGS = st.builds(
    Asking,
    act=st.sampled_from(ACTS),
    tenant=st.just(TenantId("acme")) | NAMES.map(TenantId),
    agent=st.just(AgentId("planner.a")) | NAMES.map(AgentId),
    task=st.none() | st.just(TaskId("nightly-7")) | NAMES.map(TaskId),
    scope=st.frozensets(st.sampled_from(["read", "pay", "a:'{}$~"])).map(Scope),
    resources=st.lists(st.sampled_from(["https://a.example/x?y=%22", "urn:b"]), unique=True).map(tuple),
    lifetime=st.timedeltas(timedelta(microseconds=1), timedelta(days=400)) | st.just(timedelta(minutes=15)),
    proof=st.sampled_from(["token", "certificate", "kubernetes"]),
    depth=st.integers(0, 15),
    principal=st.none() | st.builds(Principal, st.text(), st.sampled_from(["alice", "bob"]) | st.text()),
    now=st.timedeltas(timedelta(0), timedelta(days=90_000)).map(datetime(1970, 1, 1, tzinfo=UTC).__add__),
)


@given(ASKINGS)
def test_an_asking_is_recorded_and_read_without_loss(asking: Asking) -> None:
    assert Asking.from_json(json.loads(json.dumps(asking.to_json()))) == asking


def test_how_an_asking_is_recorded() -> None:
    assert ASKING.to_json() == {
        "act": "enrol",
        "tenant": "acme",
        "agent": "planner",
        "task": "nightly-7",
        "scope": "pay read",
        "resources": ["https://pay.example/v1"],
        "lifetime": 900,
        "proof": "kubernetes",
        "depth": 0,
        "principal": {"issuer": "https://idp.example", "subject": "alice"},
        "now": "2031-05-06T22:30:00Z",
    }


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"act": "issue"}, "'act' is wrong: is one of enrol, renew, delegate."),
        ({"tenant": "A"}, "'tenant' is wrong: The tenant must be"),
        ({"tenant": None}, "'tenant' is of the wrong type."),
        ({"agent": 3}, "'agent' is of the wrong type."),
        ({"scope": 'a"b'}, "'scope' is wrong: A scope is"),
        ({"resources": "https://a.example"}, "'resources' is of the wrong type."),
        ({"resources": [1]}, "'resources' is wrong: is an array of strings."),
        ({"resources": ["no-uri"]}, "'resources' is wrong: Resources are"),
        ({"lifetime": 0}, "'lifetime' is wrong: is a number of seconds above 0."),
        ({"lifetime": 1e300}, "'lifetime' is wrong: "),
        ({"lifetime": float("nan")}, "'lifetime' is wrong: "),
        ({"lifetime": True}, "'lifetime' is of the wrong type."),
        ({"depth": -1}, "'depth' is wrong: is 0 or more."),
        ({"depth": 1 << 40}, "'depth' is wrong: is 0 or more."),
        ({"now": "yesterday"}, "'now' is wrong: "),
        ({"now": "2031-05-06T22:30:00"}, "'now' is wrong: has no time zone; end it in Z."),
        ({"principal": {"issuer": "x"}}, "'principal' is wrong: has an issuer and a subject, and nothing else."),
        ({"ceiling": 1}, "'ceiling' is not a key of an asking; known are act, tenant, agent"),
    ],
)
def test_an_asking_that_is_none_is_refused_by_its_key(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        Asking.from_json(ASKING.to_json() | change)
    assert str(caught.value).startswith(sentence)


def test_what_an_asking_needs() -> None:
    needed = {key: ASKING.to_json()[key] for key in ("act", "tenant", "agent", "lifetime", "proof", "now")}
    bare = replace(ASKING, task=None, scope=Scope(), resources=(), principal=None)
    assert Asking.from_json(needed) == bare
    for key in needed:
        with pytest.raises(ValueError, match=f"'{key}' is missing"):
            Asking.from_json({name: value for name, value in needed.items() if name != key})
    with pytest.raises(ValueError, match="is a JSON object"):
        Asking.from_json([needed])
