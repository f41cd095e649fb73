"""A request in a URL, however clients write it and proxies leave it."""

from __future__ import annotations

import re
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ocsp.request import MAX_OCTETS
from ocsp.spelling import spellings

BODIES = st.binary(min_size=8, max_size=300)
SLASHES = b"\xff" * 6


def der(body: bytes) -> bytes:
    """A SEQUENCE of this body."""
    size = len(body)
    head = bytes([size]) if size < 0x80 else bytes([0x82]) + size.to_bytes(2, "big")
    return b"\x30" + head + body


@pytest.mark.parametrize(
    "spell",
    [
        pytest.param(lambda text: text, id="bare"),
        pytest.param(lambda text: quote(text, safe="").encode(), id="percent-encoded"),
        pytest.param(lambda text: text.replace(b"/", b"%2f").replace(b"+", b"%2b"), id="lower-case escapes"),
        pytest.param(lambda text: text.replace(b"+", b" "), id="plus as a space"),
        pytest.param(lambda text: text.replace(b"+", b"%20"), id="plus as an escaped space"),
        pytest.param(lambda text: text.rstrip(b"="), id="unpadded"),
        pytest.param(lambda text: b"/" + text, id="a slash in front"),
        pytest.param(lambda text: b"%2F/" + text, id="two slashes in front"),
        pytest.param(lambda text: text + b"\r\n", id="a line end"),
        pytest.param(lambda text: text.translate(bytes.maketrans(b"+/", b"-_")), id="URL-safe"),
    ],
)
@given(body=BODIES)
@example(body=b"\xfb\xef\xbe" * 30)
@example(body=SLASHES)
def test_every_spelling_means_the_same(spell, body: bytes) -> None:  # type: ignore[no-untyped-def] # a lambda
    assert spellings(spell(b64encode(der(body)))) == [der(body)]


@given(BODIES, st.integers(min_value=0, max_value=290))
def test_merged_slashes_are_put_back(body: bytes, at: int) -> None:
    whole = der(body[:at] + SLASHES[:3] + body[at:])
    merged = re.sub(rb"/+", b"/", b64encode(whole))
    lost = len(b64encode(whole)) - len(merged)
    assume(0 < lost <= 5 and merged.count(b"/") <= 6)
    assert whole in spellings(merged)


def test_the_plain_reading_comes_alone_where_nothing_was_lost() -> None:
    assert spellings(b64encode(der(SLASHES * 5))) == [der(SLASHES * 5)]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"/",
        b"====",
        b"A",
        b"!!!!",
        b"%",
        b"%zz",
        b"%00",
        b64encode(b"\x31\x04abcd"),
        b64encode(der(b"abcdefgh"))[:-3],
        b64encode(der(b"abcdefgh")) + b"AAAA",
        "MFMwUTBPME0wSzAJBgUrDgMCGgUABBQ\u00e9".encode(),
    ],
)
def test_what_means_nothing(text: bytes) -> None:
    assert spellings(text) == []


@given(st.binary(max_size=200))
def test_any_text_is_read_or_means_nothing(text: bytes) -> None:
    assert len(spellings(text)) <= 256


def test_the_worst_text_has_a_bounded_number_of_spellings() -> None:
    # Fifty slashes apart from each other, and two lost: 1,176 ways to put them back.
    text = b64encode(der(b"a" + b"\xc3\xfc\x3f" * 25))
    assert text.count(b"w/") == 50
    assert len(spellings(text.replace(b"w/w", b"w", 1).replace(b"w/", b"w", 1))) == 256


@given(BODIES)
def test_urlsafe_without_padding(body: bytes) -> None:
    assert spellings(urlsafe_b64encode(der(body)).rstrip(b"=")) == [der(body)]


def test_the_longest_request_fits() -> None:
    whole = der(b"\xff" * (MAX_OCTETS - 4))
    assert spellings(quote(b64encode(whole), safe="").encode()) == [whole]
