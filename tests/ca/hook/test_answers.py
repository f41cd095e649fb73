"""The words of answers that need no certificate; those that do are in `ca/web/test_hook.py`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ca.hook import answers
from ca.policy.binding import Denied, OauthError, Why

NOW = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
SECONDS = int(NOW.timestamp())


@pytest.mark.parametrize("why", Why)
def test_why_is_told_only_to_whom_may_hear(why: Why) -> None:
    """RFC 7662 2.2: nothing beside `active` is owed."""
    assert answers.denied(Denied(why), told=False) == {"active": False}
    told = answers.denied(Denied(why, NOW), told=True)
    assert told == {"active": False, "reason": why.value, "revoked_at": SECONDS, "terminal": Denied(why).terminal}


def test_what_is_not_there_and_what_is_not_yours_are_one() -> None:
    assert answers.unknown(foreign=False).why is Why.UNKNOWN
    assert answers.unknown(foreign=True).why is Why.UNTRUSTED


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"active": True, "exp": SECONDS + 600}, "private, max-age=5"),
        ({"active": True, "exp": SECONDS + 3}, "private, max-age=3"),
        ({"active": True, "exp": SECONDS - 3}, "private, max-age=0"),
        ({"active": False}, "no-store"),
        ({"active": False, "reason": "agent_suspended", "terminal": False}, "no-store"),
        ({"active": False, "reason": "certificate_revoked", "terminal": True}, "private, max-age=3600"),
    ],
)
def test_for_how_long_an_answer_may_be_kept(answer: answers.Answer, expected: str) -> None:
    assert answers.cache_control(answer, NOW) == expected
    assert answers.cache_control(answer, NOW + timedelta(milliseconds=900)) == expected


def test_an_error_to_relay_has_its_members() -> None:
    error = answers.relayed(OauthError(400, "invalid_scope", "Too wide."))
    assert error == {"status": 400, "error": "invalid_scope", "error_description": "Too wide."}
