from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca.policy.asking import Asking
from ca.policy.rules import Judgement, Rules
from ca.policy.trial import DENIED, Change, Outcome, Recorded, Tally, tried
from tests.ca.policy.test_asking import ASKING, ASKINGS

MINUTE = timedelta(minutes=1)
PAY = '@id("pay") @longest("5m") forbid (principal, action, resource) when { context.scope.contains("pay") };'
NEVER = '@id("never") forbid (principal, action, resource);'
OVERFLOW = """@id("odd") forbid (principal, action, resource)
    when { context.lifetime.toSeconds() * 9223372036854775807 > 0 };"""


@pytest.mark.parametrize(
    ("granted", "text", "change"),
    [
        (15 * MINUTE, "", Change.SAME),
        (15 * MINUTE, PAY, Change.SHORTENED),
        (15 * MINUTE, NEVER, Change.DENIED),
        (15 * MINUTE, OVERFLOW, Change.DENIED),
        (5 * MINUTE, PAY, Change.SAME),
        (5 * MINUTE, "", Change.MORE),
        (MINUTE, PAY, Change.MORE),
        (5 * MINUTE, NEVER, Change.DENIED),
        (DENIED, NEVER, Change.SAME),
        (DENIED, PAY, Change.MORE),
    ],
)
def test_what_would_be_beside_what_was(granted: timedelta, text: str, change: Change) -> None:
    [outcome] = tried(Rules.parse(text), [Recorded(ASKING, granted)])
    assert outcome.change is change
    tally = Tally()
    tally.count(outcome)
    assert tally.takes == (change in (Change.DENIED, Change.SHORTENED))
    assert bool(tally.policies) == tally.takes


@given(ASKINGS, st.timedeltas(DENIED, timedelta(hours=2)), st.timedeltas(DENIED, timedelta(hours=2)))
def test_less_is_what_is_shorter(asking: Asking, granted: timedelta, would: timedelta) -> None:
    outcome = Outcome(Recorded(asking, granted), Judgement(bool(would), would, ("p",)))
    tally = Tally()
    tally.count(outcome)
    assert tally.takes == (would < granted)
    assert (outcome.change is Change.SAME) == (would == granted)
