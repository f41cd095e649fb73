from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import cedarpy
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ca.policy import rules
from ca.policy.asking import Asking
from ca.policy.ceiling import Principal
from ca.policy.rules import NO_RULES, SCHEMA, Judgement, Rules
from tests.ca.policy.test_asking import ASKING, ASKINGS

MINUTE = timedelta(minutes=1)
CONDITIONS = [
    'context.scope.contains("pay")',
    'context.agent like "planner*"',
    'context has task && context.task like "nightly-*"',
    'context.lifetime > duration("5m")',
    'context.lifetime < duration("2m")',
    'context.lifetime > duration("10m") && context.depth > 0',
    "context.depth >= 2",
    'context.proof == "token"',
    'context has on_behalf_of && context.on_behalf_of.subject == "alice"',
    'context.now.toTime() >= duration("22h")',
    '["saturday", "sunday"].contains(context.weekday)',
    "context.lifetime.toSeconds() * 9223372036854775807 > 0",
]
LONGEST = ["10s", "1m", "90s", "5m", "1h"]


def policy(name: str, condition: str, longest: str | None = None, scope: str = "principal, action, resource") -> str:
    cure = f'@longest("{longest}")\n' if longest else ""
    return f'@id("{name}")\n{cure}forbid ({scope}) when {{ {condition} }};\n'


@st.composite
def policies(draw: st.DrawFn) -> list[str]:
    drawn = draw(st.lists(st.tuples(st.sampled_from(CONDITIONS), st.none() | st.sampled_from(LONGEST)), max_size=5))
    return [policy(f"p{number}", condition, longest) for number, (condition, longest) in enumerate(drawn)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Judgement(True, 15 * MINUTE)),
        ("// nothing but a comment; and \"half of a string", Judgement(True, 15 * MINUTE)),
        (policy("pay", 'context.scope.contains("pay")'), Judgement(False, timedelta(0), ("pay",))),
        (policy("pay", 'context.scope.contains("pay")', "5m"), Judgement(True, 5 * MINUTE, ("pay",))),
        (policy("pay", 'context.scope.contains("pay")', "15m"), Judgement(True, 15 * MINUTE)),
        (policy("pay", 'context.scope.contains("pay")', "1h"), Judgement(True, 15 * MINUTE)),
        (policy("write", 'context.scope.contains("write")'), Judgement(True, 15 * MINUTE)),
        (
            policy("renew", "true", scope='principal, action == Action::"renew", resource'),
            Judgement(True, 15 * MINUTE),
        ),
        (
            policy("planner", "true", scope='principal == Agent::"acme/planner", action, resource == Tenant::"acme"'),
            Judgement(False, timedelta(0), ("planner",)),
        ),
        (
            policy("other", "true", scope='principal == Agent::"other/planner", action, resource'),
            Judgement(True, 15 * MINUTE),
        ),
        (policy("night", 'context.now.toTime() >= duration("22h")', "1m"), Judgement(True, MINUTE, ("night",))),
        (policy("tuesday", 'context.weekday == "tuesday"', "2m"), Judgement(True, 2 * MINUTE, ("tuesday",))),
        (policy("long", 'context.lifetime > duration("14m")'), Judgement(False, timedelta(0), ("long",))),
        (policy("long", 'context.lifetime > duration("15m")'), Judgement(True, 15 * MINUTE)),
        (
            policy("alice", 'context has on_behalf_of && context.on_behalf_of.subject == "alice"'),
            Judgement(False, timedelta(0), ("alice",)),
        ),
        # Of several that shorten, the shortest decides; of those that deny, all are named.
        (policy("b", "true", "5m") + policy("a", "true", "5m") + policy("c", "true", "6m"),
         Judgement(True, 5 * MINUTE, ("a", "b"))),
        (policy("b", "true") + policy("a", "true") + policy("c", "true", "6m"),
         Judgement(False, timedelta(0), ("a", "b"))),
        # What was shortened is judged again: another may shorten it further, or deny it.
        (policy("first", "true", "5m") + policy("then", 'context.lifetime < duration("6m")', "1m"),
         Judgement(True, MINUTE, ("then",))),
        (policy("first", "true", "5m") + policy("never", 'context.lifetime < duration("6m")'),
         Judgement(False, timedelta(0), ("never",))),
    ],
)  # fmt: skip
def test_what_policies_decide(text: str, expected: Judgement) -> None:
    assert Rules.parse(text).judge(ASKING) == expected


def test_a_policy_that_cannot_be_evaluated_denies_though_cedar_would_pass_over_it() -> None:
    overflow = "context.lifetime.toSeconds() * 9223372036854775807 > 0"
    for cure in (None, "5m"):
        text = policy("fine", "false") + policy("overflow", overflow, cure)
        assert Rules.parse(text).judge(ASKING) == Judgement(False, timedelta(0), ("overflow",), failed=True)
    # It also denies when it is reached only by what another one shortened.
    text = policy("short", "true", "5m") + policy("late", f'context.lifetime < duration("6m") && {overflow}')
    assert Rules.parse(text).judge(ASKING) == Judgement(False, timedelta(0), ("late",), failed=True)


def test_what_cannot_be_told_to_cedar_is_denied() -> None:
    prepared = Rules.parse(policy("never", "false"))
    unspeakable = replace(ASKING, principal=Principal("https://idp.example", "\ud800"))
    assert prepared.judge(unspeakable) == Judgement(False, timedelta(0), (), failed=True)


@given(ASKINGS, policies())
def test_nothing_comes_out_that_is_more_than_what_went_in(asking: Asking, texts: list[str]) -> None:
    judgement = Rules.parse("".join(texts)).judge(asking)
    assert judgement.lifetime <= asking.lifetime
    assert judgement.allowed or judgement.lifetime == timedelta(0)


@given(ASKINGS, policies())
def test_what_was_shortened_is_allowed_as_it_is_when_judged_again(asking: Asking, texts: list[str]) -> None:
    prepared = Rules.parse("".join(texts))
    judgement = prepared.judge(asking)
    assume(judgement.allowed)
    again = prepared.judge(replace(asking, lifetime=judgement.lifetime))
    assert again == Judgement(True, judgement.lifetime)


@given(ASKINGS, policies(), st.randoms(use_true_random=False))
def test_the_order_of_policies_does_not_matter(asking: Asking, texts: list[str], chance: random.Random) -> None:
    shuffled = chance.sample(texts, len(texts))
    assert Rules.parse("".join(shuffled)).judge(asking) == Rules.parse("".join(texts)).judge(asking)


@given(ASKINGS, policies(), policies())
def test_another_policy_never_allows_what_was_denied(asking: Asking, texts: list[str], more: list[str]) -> None:
    assume(not any("lifetime" in text for text in [*texts, *more]))
    renamed = [text.replace('@id("p', '@id("q') for text in more]
    fewer, all_of_them = (Rules.parse("".join(some)).judge(asking) for some in (texts, [*texts, *renamed]))
    assert all_of_them.lifetime <= fewer.lifetime
    assert fewer.allowed or not all_of_them.allowed


@given(ASKINGS)
def test_policies_see_what_the_schema_says_and_nothing_else(asking: Asking) -> None:
    """Cedar checks a request against a schema only when it is asked to, which costs twice as much."""
    prepared = cedarpy.PolicySet.from_str("permit (principal, action, resource);")
    request = rules._request(asking, asking.lifetime)
    result = cedarpy.is_authorized(request, prepared, "[]", schema=SCHEMA)
    assert (result.allowed, result.diagnostics.errors) == (True, [])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("permit (principal, action, resource);", "line 1: only 'forbid' may stand here"),
        ('\n// why\n@id("all") permit (principal, action, resource);', "line 3, policy 'all': only 'forbid'"),
        ("forbid (principal, action, resource);", 'line 1: it has no name; write @id("...")'),
        ('@id("a b") forbid (principal, action, resource);', "line 1, policy 'a b': a name is"),
        ('@id forbid (principal, action, resource);', "line 1: a name is"),
        (policy("a", "true") * 2, "line 3, policy 'a': the policy of line 1 has the same name"),
        (policy("a", "true") + "forbid (principal, action", "line 3: unexpected end of input"),
        (policy("a", "true") + "\n;", "line 4: unexpected token"),
        (policy("a", "context.nope"), "line 1, policy 'a': attribute `nope` in context"),
        (policy("a", 'context.task == "x"'), "line 1, policy 'a': unable to guarantee safety of access to optional"),
        (policy("a", "context.depth like 3"), "line 1: "),
        (policy("a", 'context.depth == "3"'), "line 1, policy 'a': the types Long and String are not compatible"),
        (policy("a", 'principal.owner == "x"'), "line 1, policy 'a': attribute `owner` on entity type `Agent`"),
        (policy("a", 'context.now > datetime("late")'), "line 1, policy 'a': error during extension function"),
        (policy("a", "true", scope='principal, action == Action::"enroll", resource'),
         "line 1, policy 'a': unrecognized action `Action::\"enroll\"`"),
        (policy("a", "true", scope='principal == User::"x", action, resource'),
         "line 1, policy 'a': unrecognized entity type `User`"),
        (policy("a", "true", scope='principal == Agent::"planner", action, resource'),
         "line 1, policy 'a': Agent::\"planner\" is nobody: write"),
        (policy("a", 'principal == Agent::"acme/Planner"'), "line 1, policy 'a': Agent::\"acme/Planner\" is nobody"),
        (policy("a", "true", scope='principal, action, resource == Tenant::"acme/x"'),
         "line 1, policy 'a': Tenant::\"acme/x\" is nobody"),
        (policy("a", "true", scope="principal == ?principal, action, resource"), "line 1: it has a slot"),
        (policy("a", "true", "5 minutes"), "line 1, policy 'a': @longest is a time such as"),
        (policy("a", "true", "0s"), "line 1, policy 'a': @longest is a time such as"),
        (policy("a", "true", "9999999999d"), "line 1, policy 'a': @longest is a time such as"),
        ("@longest " + policy("a", "true"), "line 1, policy 'a': @longest is a time such as"),
        ('@longets("5m") ' + policy("a", "true"), "line 1, policy 'a': @longets is not known; @id and @longest are"),
        ('@id("a") ' + policy("b", "true"), "line 1: duplicate annotation: @id"),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_is_refused_by_line_and_policy(text: str, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        Rules.parse(text)
    assert str(caught.value).startswith(sentence)


def test_where_policies_begin_is_not_mistaken() -> None:
    text = (
        '// a ; in a comment, and a " too\r\n'
        + policy("first", 'context.agent == ";" || context.agent == "\\";// no comment"', "90s")
        + '// @id("out") forbid (principal, action, resource);\n\n'
        + policy("second", "true")
        + "// the end"
    )
    assert Rules.parse(text).policies == (
        rules.Policy("first", 2, timedelta(seconds=90)),
        rules.Policy("second", 7),
    )


def test_without_policies_cedar_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cedarpy, "is_authorized", lambda *_arguments: pytest.fail("asked"))
    assert Rules.parse("// nothing") is NO_RULES
    assert NO_RULES.judge(ASKING) == Judgement(True, ASKING.lifetime)


def test_parts_of_a_second_count() -> None:
    prepared = Rules.parse(policy("five", 'context.lifetime > duration("5m")', "5m"))
    more = replace(ASKING, lifetime=5 * MINUTE + timedelta(microseconds=1))
    assert prepared.judge(more) == Judgement(True, 5 * MINUTE, ("five",))
    assert prepared.judge(replace(ASKING, lifetime=5 * MINUTE)) == Judgement(True, 5 * MINUTE)
