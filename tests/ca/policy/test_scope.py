from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca.policy.scope import MAX_OCTETS, MAX_RESOURCES, Scope, resources
from ca.refusals import Reason, Refused

TOKEN = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"\\'), min_size=1, max_size=8)
SCOPES = st.frozensets(TOKEN, max_size=6).map(Scope)


@given(SCOPES)
def test_a_scope_survives_its_text(scope: Scope) -> None:
    assert Scope.parse(str(scope)) == scope


@given(SCOPES, SCOPES)
def test_an_intersection_is_within_both(one: Scope, other: Scope) -> None:
    both = one.intersection(other)
    assert both.within(one)
    assert both.within(other)
    assert both == other.intersection(one)


@given(SCOPES, SCOPES, SCOPES)
def test_within_is_transitive(one: Scope, other: Scope, third: Scope) -> None:
    wide = Scope(one.tokens | other.tokens)
    wider = Scope(wide.tokens | third.tokens)
    assert one.within(wide)
    assert wide.within(wider)
    assert one.within(wider)


@given(SCOPES, SCOPES)
def test_within_both_ways_is_equality(one: Scope, other: Scope) -> None:
    assert (one.within(other) and other.within(one)) == (one == other)


@given(SCOPES)
def test_nothing_is_within_everything_and_grants_nothing(scope: Scope) -> None:
    assert Scope().within(scope)
    assert bool(scope) == (scope != Scope())
    assert scope.intersection(Scope()) == Scope()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (None, set()),
        ("", set()),
        ("a", {"a"}),
        ("b a", {"a", "b"}),
        ("a a", {"a"}),
        ("invoices:read https://api.example/x", {"invoices:read", "https://api.example/x"}),
        ("!#$%&'()*+,-./:;<=>?@[]^_`{|}~", {"!#$%&'()*+,-./:;<=>?@[]^_`{|}~"}),
    ],
)
def test_scopes_are_read_as_rfc_6749_writes_them(text: str | None, tokens: set[str]) -> None:
    assert Scope.parse(text).tokens == tokens


def test_a_scope_is_written_in_one_order() -> None:
    assert str(Scope.parse("c a b")) == str(Scope.parse("b c a")) == "a b c"


@pytest.mark.parametrize(
    "text",
    [
        " ",
        " a",
        "a ",
        "a  b",
        "a\tb",
        "a\nb",
        'a"b',
        "a\\b",
        "a\0b",
        "a\x7fb",
        "\u00e9",
        "a\u00a0b",
        "a\u2028b",
        "x" * (MAX_OCTETS + 1),
    ],
)
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(Refused) as caught:
        Scope.parse(text)
    assert caught.value.reason is Reason.MALFORMED


def test_the_longest_scope_is_read() -> None:
    assert len(str(Scope.parse("x" * MAX_OCTETS))) == MAX_OCTETS


def test_case_matters() -> None:
    assert not Scope.parse("Read").within(Scope.parse("read"))


@pytest.mark.parametrize(
    "uri",
    [
        "https://api.example/v1?x=1",
        "https://api.example",
        "urn:example:thing",
        "spiffe://agents.example/tool",
        "https://[2001:db8::1]/x",
        "file:/x",
        "a:" + "x" * 254,
    ],
)
def test_a_resource_is_an_absolute_uri(uri: str) -> None:
    assert resources([uri]) == (uri,)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/relative",
        "relative",
        "//host/path",
        "https://api.example/#fragment",
        "https://api.example/#",
        "https://api.example/a b",
        "https://api.example/\0",
        "https://api.example/\n",
        "https://\u0430pi.example",
        "https:",
        "https://[::1",
        "https://api.example/" + "x" * 256,
    ],
)
def test_another_resource_is_refused(uri: str) -> None:
    with pytest.raises(Refused) as caught:
        resources(["https://api.example", uri])
    assert caught.value.reason is Reason.MALFORMED


def test_resources_keep_their_order_and_come_once() -> None:
    assert resources(["b:1", "a:1", "b:1"]) == ("b:1", "a:1")


def test_there_are_at_most_sixteen_resources() -> None:
    most = [f"urn:x:{i}" for i in range(MAX_RESOURCES)]
    assert len(resources(most * 2)) == MAX_RESOURCES
    with pytest.raises(Refused):
        resources([*most, "urn:x:more"])
