"""Headers: what may be kept, by whom, until when."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca.refusals import Reason
from ocsp.document import MALFORMED, TOO_LARGE, TRY_LATER, Document, Life, away, problem

SINCE = datetime(2026, 6, 1, 12, tzinfo=UTC)
LIFE = Life(SINCE, SINCE + timedelta(seconds=60))


def headers(document: Document, now: datetime) -> dict[str, str]:
    given = document.headers(now)
    assert len({name for name, _ in given}) == len(given)
    return {name.decode(): value.decode() for name, value in given}


def test_the_headers_of_rfc_5019_6() -> None:
    found = headers(Document(b"body", "application/ocsp-response", LIFE), SINCE + timedelta(seconds=20))
    etag = found.pop("etag")
    assert etag[0] == etag[-1] == '"'
    assert found == {
        "date": "Mon, 01 Jun 2026 12:00:20 GMT",
        "content-type": "application/ocsp-response",
        "content-length": "4",
        "last-modified": "Mon, 01 Jun 2026 12:00:00 GMT",
        "expires": "Mon, 01 Jun 2026 12:01:00 GMT",
        "cache-control": "max-age=40, public, no-transform, must-revalidate",
    }


@given(st.integers(min_value=-100_000, max_value=100_000))
def test_max_age_never_reaches_past_the_end(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    now = SINCE + timedelta(seconds=seconds)
    found = headers(Document(b"", "x/y", LIFE), now)
    max_age = int(found["cache-control"].split(",")[0].removeprefix("max-age="))
    assert max_age >= 0
    assert max_age == 0 or now + timedelta(seconds=max_age) <= LIFE.until
    assert LIFE.holds(now) == (0 <= seconds < 60)
    assert parsedate_to_datetime(found["date"]) == now.replace(microsecond=0)


def test_other_bytes_have_another_etag() -> None:
    assert Document(b"a", "x/y", LIFE).etag != Document(b"b", "x/y", LIFE).etag


@pytest.mark.parametrize("document", [MALFORMED, TRY_LATER, TOO_LARGE, away("Away."), Document(b"", "x/y")])
def test_without_a_life_nobody_may_keep_it(document: Document) -> None:
    found = headers(document, SINCE)
    assert found["cache-control"] == "no-store"
    assert not {"etag", "expires", "last-modified"} & found.keys()


def test_a_problem_is_rfc_9457() -> None:
    made = problem(HTTPStatus.NOT_FOUND, Reason.NOT_FOUND, "Nothing here.", (b"x-more", b"1"))
    assert made.media_type == "application/problem+json"
    assert json.loads(made.body) == {
        "type": "urn:remit:problem:not-found",
        "title": "Not Found",
        "status": 404,
        "detail": "Nothing here.",
    }
    assert headers(made, SINCE)["x-more"] == "1"


def test_away_says_when_to_come_back() -> None:
    assert away("Away.").status is HTTPStatus.SERVICE_UNAVAILABLE
    assert headers(away("Away."), SINCE)["retry-after"] == "1"
