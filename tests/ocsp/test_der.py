"""The strict reader: DER in its one spelling, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocsp.der import NotDer, Tag, elements, moment, only
from tests.ocsp.test_request import tlv

CONTENTS = st.one_of(st.binary(max_size=20), st.integers(min_value=100, max_value=70_000).map(bytes))
MOMENTS = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)).map(  # noqa: DTZ001 (given a zone here)
    lambda moment: moment.replace(microsecond=0, tzinfo=UTC)
)


@given(st.lists(st.tuples(st.integers(min_value=0, max_value=255), CONTENTS), max_size=5))
def test_reads_what_was_written(written: list[tuple[int, bytes]]) -> None:
    octets = b"".join(tlv(tag, contents) for tag, contents in written)
    assert elements(octets) == [(tag, contents, tlv(tag, contents)) for tag, contents in written]


@given(st.binary(max_size=60))
def test_what_is_read_is_the_one_spelling_of_itself(octets: bytes) -> None:
    try:
        read = elements(octets)
    except NotDer:
        return
    assert b"".join(tlv(tag, contents) for tag, contents, _ in read) == octets


@pytest.mark.parametrize(
    "octets",
    [
        b"\x04",
        b"\x04\x01",
        b"\x04\x02a",
        b"\x30\x80\x00\x00",
        b"\x04\x81\x01a",
        b"\x04\x82\x00\x80" + bytes(128),
        b"\x04\x81",
        b"\x04\x84\x00\x00\x00\x01a",
        b"\x04\x84\x01\x00\x00\x00" + bytes(16),
        b"\x04\xff" + bytes(200),
    ],
    ids=["no length", "nothing", "cut", "indefinite", "long", "padded", "no octets", "four", "16 MiB", "reserved"],
)
def test_another_spelling_is_refused(octets: bytes) -> None:
    with pytest.raises(NotDer):
        elements(octets)


def test_one_element_of_one_kind() -> None:
    assert only(b"\x04\x01a", Tag.OCTET_STRING) == b"a"
    for octets in (b"", b"\x05\x00", b"\x04\x01a\x04\x01a", b"\x04\x01a\x00"):
        with pytest.raises(NotDer):
            only(octets, Tag.OCTET_STRING)


@given(MOMENTS)
def test_moments(at: datetime) -> None:
    assert moment(f"{at:%Y%m%d%H%M%S}Z".zfill(15).encode()) == at


@pytest.mark.parametrize(
    "contents",
    [
        *(b"", b"20260101000000", b"20260101000000z", b"260101000000Z", b"20260101000000.5Z", b"2026010100000 Z"),
        *(b"20260101000000+0000", b"20261301000000Z", b"20260230000000Z", b"20260101240000Z", b"20260101000060Z"),
        *(b"00000101000000Z", b"202601010000-1Z", "\uff12".encode() * 4 + b"01Z"),
    ],
)
def test_what_is_no_moment(contents: bytes) -> None:
    with pytest.raises(NotDer):
        moment(contents)
