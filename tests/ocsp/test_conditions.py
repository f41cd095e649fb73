"""Ranges and conditions as RFC 9110 13 and 14 have them; what cannot be understood is answered with the whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocsp.conditions import Selected, in_part, unless_held
from ocsp.document import Document, Life

NOW = datetime(2026, 6, 1, 12, 0, 30, tzinfo=UTC)
SINCE = NOW - timedelta(seconds=30)
LIST = Document(bytes(range(100)), "application/pkix-crl", Life(SINCE, NOW + timedelta(hours=1)))
TAG = LIST.etag.decode()
SINCE_IN_HTTP = "Mon, 01 Jun 2026 12:00:00 GMT"


def asked(**fields: str) -> Selected:
    return in_part(LIST, [(name.replace("_", "-").encode(), text.encode()) for name, text in fields.items()], NOW)


def header(selected: Selected, name: bytes) -> bytes | None:
    found = [value for given, value in selected.headers if given == name]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.parametrize(
    ("text", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-9", 0, 10),
        ("bytes=90-", 90, 100),
        ("bytes=99-99", 99, 100),
        ("bytes=95-1000", 95, 100),
        ("bytes=-5", 95, 100),
        ("bytes=-1000", 0, 100),
        ("Bytes= 1-2 ", 1, 3),
    ],
)
def test_one_range(text: str, start: int, stop: int) -> None:
    selected = asked(range=text)
    assert (selected.status, bytes(selected.body)) == (206, LIST.body[start:stop])
    assert header(selected, b"content-range") == b"bytes %d-%d/100" % (start, stop - 1)
    assert header(selected, b"content-length") == b"%d" % (stop - start)
    assert header(selected, b"etag") == LIST.etag
    assert header(selected, b"content-type") == b"application/pkix-crl"


def test_a_range_copies_nothing() -> None:
    body = asked(range="bytes=10-19").body
    assert isinstance(body, memoryview)
    assert body.obj is LIST.body


@pytest.mark.parametrize("text", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=999999999999999999-"])
def test_a_range_of_nothing_is_416_with_the_length(text: str) -> None:
    selected = asked(range=text)
    assert (selected.status, selected.body) == (416, b"")
    assert header(selected, b"content-range") == b"bytes */100"
    assert header(selected, b"content-length") == b"0"


@pytest.mark.parametrize(
    "text",
    ["bytes=5-4", "bytes=-", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6", "bytes", "", "bytes=1--2", "bytes=" + "9" * 30],
)
def test_several_ranges_and_what_is_none_get_the_whole(text: str) -> None:
    selected = asked(range=text)
    assert (selected.status, selected.body) == (200, LIST.body)


@given(st.text(max_size=30).filter(lambda text: text.isascii()))
def test_whatever_a_stranger_writes_is_answered(text: str) -> None:
    assert asked(range=f"bytes={text}", if_none_match=text, if_modified_since=text).status in (200, 206, 304, 416)


@given(st.integers(min_value=0, max_value=120), st.integers(min_value=0, max_value=120))
def test_a_range_is_the_octets_that_it_says(first: int, last: int) -> None:
    selected = asked(range=f"bytes={first}-{last}")
    if first > last:
        assert selected.status == 200
    elif first >= 100:
        assert selected.status == 416
    else:
        assert bytes(selected.body) == LIST.body[first : last + 1]


@pytest.mark.parametrize(
    ("condition", "status"), [(TAG, 206), (f"W/{TAG}", 200), ('"other"', 200), (SINCE_IN_HTTP, 200), ("*", 200)]
)
def test_if_range_compares_strongly(condition: str, status: int) -> None:
    assert asked(range="bytes=0-9", if_range=condition).status == status


@pytest.mark.parametrize(
    ("held", "status"),
    [
        (TAG, 304),
        (f"W/{TAG}", 304),
        (f'"a", W/"b", {TAG}', 304),
        ("*", 304),
        (" * ", 304),
        ('"other"', 200),
        (TAG.strip('"'), 200),
        (f'"x{TAG[1:]}', 200),
    ],
)
def test_if_none_match_compares_weakly(held: str, status: int) -> None:
    selected = asked(if_none_match=held)
    assert selected.status == status
    if status == 304:
        assert selected.body == b""
        assert header(selected, b"content-length") is None
        assert header(selected, b"etag") == LIST.etag


def test_tags_may_come_in_several_lines() -> None:
    fields = [(b"if-none-match", b'"a"'), (b"if-none-match", LIST.etag)]
    assert unless_held(LIST, fields, NOW).status == 304


@pytest.mark.parametrize(
    ("date", "status"),
    [
        (SINCE_IN_HTTP, 304),
        ("Mon, 01 Jun 2026 12:00:01 GMT", 304),
        ("Mon, 01 Jun 2026 11:59:59 GMT", 200),
        ("yesterday", 200),
        ("", 200),
        ("Mon, 01 Jun 99999 12:00:00 GMT", 200),
    ],
)
def test_if_modified_since(date: str, status: int) -> None:
    assert asked(if_modified_since=date).status == status


def test_a_tag_that_is_given_decides_and_no_date() -> None:
    assert asked(if_none_match='"other"', if_modified_since=SINCE_IN_HTTP).status == 200


def test_who_holds_it_gets_no_part() -> None:
    assert asked(if_none_match=TAG, range="bytes=0-9").status == 304


def test_what_nobody_may_keep_has_neither_parts_nor_conditions() -> None:
    problem = Document(b"sorry", "application/problem+json")
    fields = [(b"range", b"bytes=0-1"), (b"if-none-match", b"*")]
    assert in_part(problem, fields, NOW) == (200, problem.headers(NOW), b"sorry")
