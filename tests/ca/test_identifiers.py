from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca.identifiers import (
    AgentId,
    OperatorName,
    Serial,
    SpiffeId,
    TaskId,
    TenantId,
    Thumbprint,
    TrustDomain,
)
from ca.refusals import Reason, Refused

NAMES = (TenantId, AgentId, TaskId, OperatorName)

# Case 33: one canonical spelling, or refused.
HOSTILE_NAMES = {
    "empty": "",
    "NUL": "a\0b",
    "right-to-left override": "a\u202eb",
    "leading space": " a",
    "trailing space": "a ",
    "trailing newline": "a\n",
    "upper case": "Agent",
    "Cyrillic a": "\u0430gent",
    "fullwidth": "\uff41gent",
    "combining accent": "e\u0301",
    "dot": ".",
    "dot dot": "..",
    "hidden": ".a",
    "slash": "a/b",
    "backslash": "a\\b",
    "percent-encoded slash": "a%2fb",
    "percent-encoded dots": "%2e%2e",
    "wildcard": "*",
    "wildcard inside": "a*",
    "template": "{{agent}}",
    "comma, as in a DN": "a,ou=b",
    "plus, as in a DN": "a+cn=b",
    "64 characters": "a" * 64,
    "quote": "a'b",
    "colon": "a:b",
    "at": "a@b",
    "question mark": "a?b",
    "hash": "a#b",
    "superscript digit": "a\u00b2",
    "Arabic digit": "a\u0663",
}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("text", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES.keys())
def test_a_hostile_name_is_refused(kind: type[str], text: str) -> None:
    with pytest.raises(Refused) as caught:
        kind(text)
    assert caught.value.reason is Reason.MALFORMED


@pytest.mark.parametrize("kind", NAMES)
def test_a_refusal_names_the_noun_and_not_the_value(kind: type[str]) -> None:
    with pytest.raises(Refused, match=f"The {kind.noun} must be") as caught:  # type: ignore[attr-defined]
        kind("<script>")
    assert "<script>" not in caught.value.detail


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("text", ["a", "0", "a" * 63, "billing-bot_2.eu", "a..b", "a-"])
def test_a_name_is_itself(kind: type[str], text: str) -> None:
    assert kind(text) == text


@given(st.text(max_size=70))
def test_what_is_accepted_needs_no_escaping_anywhere(text: str) -> None:
    try:
        name = AgentId(text)
    except Refused:
        return
    assert name == text
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")
    assert len(name) <= 63
    assert name[0] not in "._-"


@pytest.mark.parametrize("text", ["agents.example", "a", "a-b.c1", "x" * 63 + ".y", "1.example"])
def test_a_trust_domain_is_itself(text: str) -> None:
    assert TrustDomain(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Agents.example",
        "a_b.example",
        "-a.example",
        "a-.example",
        "a..b",
        ".a",
        "a.",
        "127.0.0.1",
        "example.1",
        "a b",
        "a/b",
        "a:443",
        "user@a",
        "\u0430.example",
        "x" * 64 + ".y",
        "a\n",
        ".".join(["a" * 50] * 6),
    ],
)
def test_a_hostile_trust_domain_is_refused(text: str) -> None:
    with pytest.raises(Refused) as caught:
        TrustDomain(text)
    assert caught.value.reason is Reason.MALFORMED


def test_spiffe_ids() -> None:
    domain = TrustDomain("agents.example")
    assert str(SpiffeId.agent(domain, TenantId("acme"), AgentId("bot"))) == "spiffe://agents.example/agent/acme/bot"
    assert str(SpiffeId.operator(domain, OperatorName("ops"))) == "spiffe://agents.example/operator/ops"


def test_an_operator_never_has_an_agents_spiffe_id() -> None:
    domain = TrustDomain("agents.example")
    agent = SpiffeId.agent(domain, TenantId("operator"), AgentId("ops"))
    assert agent != SpiffeId.operator(domain, OperatorName("ops"))


@given(st.integers(1, 0x7F), st.binary(min_size=18, max_size=18))
def test_an_assigned_serial_takes_19_octets_of_minimal_der(replica: int, random: bytes) -> None:
    serial = Serial.assign(replica, random)
    assert serial.octets == bytes([replica]) + random
    assert serial.number > 0
    assert serial.number.bit_length() <= 8 * 19 - 1, "the first bit is free, so DER needs no padding octet"
    assert serial.number.bit_length() > 8 * 18, "the first octet is not zero, so all 144 random bits remain"


@pytest.mark.parametrize(("replica", "length"), [(0, 18), (0x80, 18), (-1, 18), (1, 17), (1, 19), (1, 0)])
def test_a_serial_is_never_assigned_short_of_chance_or_out_of_range(replica: int, length: int) -> None:
    with pytest.raises(ValueError, match="replica octet"):
        Serial.assign(replica, bytes(length))


@given(st.integers(1, (1 << 160) - 1))
def test_a_serial_survives_every_spelling(number: int) -> None:
    serial = Serial(number)
    digits = str(serial)
    colons = ":".join(digits[i : i + 2] for i in range(0, len(digits), 2)).upper()
    assert Serial.parse(digits) == Serial.parse(colons) == Serial.from_octets(serial.octets) == serial
    assert digits == digits.lower()
    assert len(digits) % 2 == 0


@pytest.mark.parametrize("number", [0, -1, 1 << 160])
def test_a_serial_is_positive_and_at_most_20_octets(number: int) -> None:
    with pytest.raises(Refused) as caught:
        Serial(number)
    assert caught.value.reason is Reason.MALFORMED


@pytest.mark.parametrize(
    "text",
    ["", ":", "0", "00:00", "xyz", "0x1f", "-1", "+1", "1 2", " 1", "1_0", "f" * 41, "\uff11", "1\n", "..", "%00"],
)
def test_a_hostile_serial_is_refused(text: str) -> None:
    with pytest.raises(Refused) as caught:
        Serial.parse(text)
    assert caught.value.reason is Reason.MALFORMED


def test_serials_are_ordered_by_number() -> None:
    assert sorted([Serial(300), Serial(2), Serial(255)]) == [Serial(2), Serial(255), Serial(300)]


@given(st.binary(min_size=32, max_size=32))
def test_a_thumbprint_survives_every_spelling(digest: bytes) -> None:
    thumbprint = Thumbprint(digest)
    colons = digest.hex(":").upper()
    assert Thumbprint.parse(thumbprint.hex) == Thumbprint.parse(colons) == thumbprint
    assert Thumbprint.parse(thumbprint.base64url) == Thumbprint.parse(str(thumbprint)) == thumbprint
    assert len(str(thumbprint)) == 43


def test_a_thumbprint_is_sha_256() -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert Thumbprint.of(b"").hex == empty


CANONICAL = Thumbprint(bytes(32)).base64url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00" * 31,
        "00" * 33,
        "zz" * 32,
        CANONICAL + "=",
        CANONICAL[:-1],
        CANONICAL[:-1] + "B",  # the same 256 bits with other padding bits
        CANONICAL[:-1] + "+",
        CANONICAL[:-1] + "!",
        "\u00e9" * 43,
        " " + "00" * 32,
    ],
)
def test_a_hostile_thumbprint_is_refused(text: str) -> None:
    with pytest.raises(Refused) as caught:
        Thumbprint.parse(text)
    assert caught.value.reason is Reason.MALFORMED


@pytest.mark.parametrize("length", [0, 20, 31, 33])
def test_a_thumbprint_has_32_octets(length: int) -> None:
    with pytest.raises(Refused):
        Thumbprint(bytes(length))


@pytest.mark.parametrize("value", [Serial(1), Thumbprint(bytes(32)), SpiffeId("spiffe://a/b")])
def test_identifiers_cannot_be_changed(value: object) -> None:
    field = next(iter(type(value).__slots__))
    with pytest.raises(FrozenInstanceError):
        setattr(value, field, None)
