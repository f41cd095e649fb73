"""Requests that are no requests: DER bombs, garbage and oversize, refused and refused quickly (case 32)."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca.pki import csr
from ca.refusals import Reason, Refused
from tests.ca.pki import requests as made
from tests.ca.pki.cost import cpu_seconds
from tests.ca.pki.specimens import SPIFFE

CPU_SECONDS = 0.010  # measured: 0.1 to 0.5 ms, with an RSA key of 16,384 bits 4 ms


def reason_of(raw: bytes) -> Reason:
    with pytest.raises(Refused) as caught:
        csr.parse(raw)
    return caught.value.reason


def nested(tag: int, octets: int) -> bytes:
    inner = b""
    while len(inner) < octets:
        inner = made.tlv(tag, inner)
    return inner


def bomb(value: bytes) -> bytes:
    return made.request(made.info(attributes=made.asking(made.extension("551d11", value))))


WHOLE = made.request(made.info())
MANY = b"".join(made.extension(f"2a03{i:02x}", b"") for i in range(127))
BOMBS = {
    "nothing": b"",
    "white space": b" \n",
    "one octet": b"\x30",
    "only nesting": nested(made.SEQUENCE, 8000),
    "only nesting of sets": nested(made.SET, 8000),
    "nesting in a SAN": bomb(nested(made.SEQUENCE, 7500)),
    "nesting of explicit tags in a SAN": bomb(made.tlv(made.SEQUENCE, nested(0xA4, 7500))),
    "nesting in the subject": made.request(made.info(subject=nested(made.SEQUENCE, 7500))),
    "nesting in an attribute": made.request(made.info(attributes=nested(made.SEQUENCE, 7500))),
    "nesting as a key": made.request(made.info(key=nested(made.SEQUENCE, 7500))),
    "a huge object identifier": made.request(
        made.info(attributes=made.asking(made.tlv(made.SEQUENCE, made.tlv(6, b"\x81" * 7000 + b"\x01"), b"\x04\x00")))
    ),
    "an object identifier that never ends": made.request(
        made.info(attributes=made.asking(made.tlv(made.SEQUENCE, made.tlv(6, b"\x81" * 100), b"\x04\x00")))
    ),
    "indefinite length": b"\x30\x80" + WHOLE[3:] + b"\x00\x00",
    "a trailing octet": WHOLE + b"\x00",
    "two requests": WHOLE * 2,
    "cut short": WHOLE[:-1],
    "a length beyond memory": b"\x30\x84\xff\xff\xff\xff" + WHOLE[3:],
    "a length of many octets": b"\x30\xfe" + b"\xff" * 126,
    "a length not minimal": b"\x30\x82\x00" + WHOLE[1:2] + WHOLE[2:],
    "the same extension twice": made.request(
        made.info(attributes=made.asking(made.alternative_names(), made.alternative_names()))
    ),
    "the same attribute twice": made.request(
        made.info(
            attributes=made.asking(made.alternative_names(made.uri_name(SPIFFE)))
            + made.asking(made.extension("551d13", bytes.fromhex("30030101ff")))
        )
    ),
    "a Boolean that is neither": made.request(
        made.info(attributes=made.asking(made.extension("551d13", bytes.fromhex("3003010101"))))
    ),
    "a PEM in a PEM": b"-----BEGIN CERTIFICATE REQUEST-----\n" * 100,
    "a PEM of another kind": b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
    "a private key": b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
    "an unfinished PEM": b"-----BEGIN CERTIFICATE REQUEST-----\n" + b64encode(WHOLE),
    "base64 with strangers in it": b64encode(WHOLE)[:-4] + b"!!!!",
    "text": b"openssl req -new",
    "JSON": b'{"csr": ""}',
    "UTF-16": "MII".encode("utf-16"),
}


@pytest.mark.parametrize("raw", BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_is_refused_quickly(raw: bytes) -> None:
    assert reason_of(raw) is Reason.CSR_MALFORMED
    assert cpu_seconds(lambda: reason_of(raw)) < CPU_SECONDS


@pytest.mark.parametrize("length", [csr.MAX_OCTETS * 3 // 2 + 1, 200_000, 10_000_000])
@pytest.mark.parametrize("first", [b"\x30", b"-----BEGIN CERTIFICATE REQUEST-----", b"M"], ids=["DER", "PEM", "base64"])
def test_what_is_too_large_is_not_even_read(first: bytes, length: int) -> None:
    raw = first.ljust(length, b"A")
    assert reason_of(raw) is Reason.TOO_LARGE
    assert cpu_seconds(lambda: reason_of(raw)) < CPU_SECONDS


def test_many_extensions_are_refused_quickly() -> None:
    assert reason_of(made.request(made.info(attributes=made.asking(MANY)))) is Reason.CSR_EXTENSION
    assert cpu_seconds(lambda: reason_of(made.request(made.info(attributes=made.asking(MANY))))) < CPU_SECONDS


@pytest.mark.parametrize("bits", [8192, 16384, 20_000])
@pytest.mark.parametrize("exponent_bits", [17, 64])
def test_an_oversized_rsa_key_costs_little(bits: int, exponent_bits: int) -> None:
    key = made.rsa_key((1 << bits) - 159, (1 << (exponent_bits - 1)) + 1)
    raw = made.sealed(made.info(key=key), b"\x01" * (bits // 8), bytes.fromhex("300d06092a864886f70d01010b0500"))
    assert reason_of(raw) in (Reason.CSR_UNPROVEN, Reason.CSR_MALFORMED, Reason.KEY_REFUSED)
    assert cpu_seconds(lambda: reason_of(raw)) < 2 * CPU_SECONDS


@given(st.binary(max_size=300))
def test_garbage_is_refused(raw: bytes) -> None:
    assert reason_of(raw) is Reason.CSR_MALFORMED


@given(st.binary(max_size=100))
def test_garbage_in_pem_is_refused(raw: bytes) -> None:
    pem = b"-----BEGIN CERTIFICATE REQUEST-----\n" + b64encode(raw) + b"\n-----END CERTIFICATE REQUEST-----"
    assert reason_of(pem) is Reason.CSR_MALFORMED


@given(st.sampled_from(["551d11", "551d13", "551d0f", "551d25", "551d0e"]), st.binary(max_size=40))
def test_garbage_in_an_extension_is_refused_or_harmless(oid: str, value: bytes) -> None:
    raw = made.request(made.info(attributes=made.asking(made.extension(oid, value))))
    try:
        request = csr.parse(raw)
    except Refused as refusal:
        assert refusal.reason in (Reason.CSR_MALFORMED, Reason.CSR_EXTENSION)
    else:
        assert request.alternative_names is None or oid == "551d11"


def test_the_limit_is_of_der_and_pem_may_take_a_third_more() -> None:
    assert reason_of(b"\x30".ljust(csr.MAX_OCTETS + 1, b"A")) is Reason.TOO_LARGE
    assert reason_of(b64encode(b"\x30".ljust(csr.MAX_OCTETS + 1, b"A"))) is Reason.TOO_LARGE
    assert reason_of(b64encode(b"\x30".ljust(csr.MAX_OCTETS, b"A"))) is Reason.CSR_MALFORMED
