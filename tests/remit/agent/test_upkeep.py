"""When a certificate is renewed: tables of what is said, and rules that hold for any times and any chance."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.upkeep import CEILING, FLOOR, RARE, SELDOM, Failure, Life, State, backoff, next_try, state

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


LIFE = Life(not_before=at(-1), not_after=at(15), renew_after=at(7), since=at(0))

moments = st.integers(-3600, 3 * 3600).map(lambda seconds: NOON + timedelta(seconds=seconds))
chances = st.floats(0, 1, exclude_max=True)
failures = st.builds(
    Failure,
    count=st.integers(1, 10**6),
    final=st.booleans(),
    retry_after=st.none() | st.timedeltas(timedelta(0), timedelta(days=365)),
)


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """Whatever an authority could say, to an agent whose clock is anywhere within an hour of it."""
    life = draw(st.integers(2, 3600))
    renewed = draw(st.integers(1, life))
    skew = draw(st.integers(-3600, 3600))
    return Life(
        not_before=NOON - timedelta(seconds=draw(st.integers(0, 60))),
        not_after=NOON + timedelta(seconds=life),
        renew_after=NOON + timedelta(seconds=renewed),
        since=NOON + timedelta(seconds=skew),
    )


@pytest.mark.parametrize(
    ("now", "failure", "expected"),
    [
        (0, None, State.FRESH),
        (6.9, None, State.FRESH),
        (7, None, State.OVERDUE),
        (8, Failure(1), State.OVERDUE),
        (14.9, Failure(9), State.OVERDUE),
        (15, Failure(9), State.EXPIRED),
        (600, None, State.EXPIRED),
        (8, Failure(1, final=True), State.REFUSED),
        (20, Failure(3, final=True), State.REFUSED),
    ],
)
def test_what_is_said_of_a_credential(now: float, failure: Failure | None, expected: State) -> None:
    assert state(LIFE, failure, at(now)) is expected


@pytest.mark.parametrize(
    ("failure", "expected", "wait"),
    [
        (None, State.NONE, timedelta(0)),
        (Failure(1), State.NONE, FLOOR),
        (Failure(3, final=True), State.REFUSED, SELDOM * 0.8),
    ],
)
def test_before_the_first_certificate(failure: Failure | None, expected: State, wait: timedelta) -> None:
    assert state(None, failure, NOON) is expected
    assert next_try(None, failure, NOON, 0.0) == NOON + wait


def test_who_may_present_it() -> None:
    assert [one for one in State if one.usable] == [State.FRESH, State.OVERDUE]


@pytest.mark.parametrize(
    ("now", "failure", "chance", "expected"),
    [
        (0, None, 0.5, at(7)),
        (9, None, 0.5, at(9)),
        (7, Failure(1), 0.0, at(7) + FLOOR),
        (7, Failure(1), 0.5, at(7) + timedelta(seconds=1)),
        (7, Failure(2), 0.5, at(7) + timedelta(seconds=2)),
        (7, Failure(4), 0.5, at(7) + timedelta(seconds=8)),
        (7, Failure(99), 0.5, at(7) + CEILING / 2),
        (7, Failure(1, retry_after=timedelta(seconds=20)), 0.5, at(7) + timedelta(seconds=21)),
        (7, Failure(1, retry_after=timedelta(days=1)), 0.5, at(11)),
        (20, Failure(1, retry_after=timedelta(days=1)), 0.5, at(20) + SELDOM + timedelta(seconds=1)),
        (0, Failure(1, final=True), 0.5, at(0) + SELDOM),
        (13, Failure(1, final=True), 0.5, at(14)),
        (14.5, Failure(1, final=True), 0.5, at(14.5) + RARE),
        (16, Failure(1, final=True), 0.5, at(16) + SELDOM),
    ],
)
def test_when_it_is_tried(now: float, failure: Failure | None, chance: float, expected: datetime) -> None:
    assert next_try(LIFE, failure, at(now), chance) == expected


@given(lives(), failures, moments, chances)
def test_no_failure_is_tried_again_in_a_loop(life: Life, failure: Failure, now: datetime, chance: float) -> None:
    assert next_try(life, failure, now, chance) - now >= (RARE if failure.final else FLOOR)


@given(lives(), failures, moments, chances)
def test_no_wait_goes_past_what_matters(life: Life, failure: Failure, now: datetime, chance: float) -> None:
    """Half of what is left at most, however long the authority asks to be left alone."""
    wait, left = next_try(life, failure, now, chance) - now, life.not_after - now
    floor = RARE if failure.final else FLOOR
    assert wait <= max(floor, left / 2) if left > timedelta(0) else wait <= SELDOM * 1.2


@given(lives())
def test_nobody_renews_in_a_loop_whatever_its_clock_says(life: Life) -> None:
    assert life.due - life.since >= FLOOR


@given(st.integers(120, 3600), st.floats(0.14, 0.6), st.integers(-3600, 0))
def test_an_agent_whose_clock_is_behind_still_renews_in_time(life: int, part: float, skew: int) -> None:
    """The bound is on what the holder's clock measured, not on what it shows."""
    since = NOON + timedelta(seconds=skew)
    end = NOON + timedelta(seconds=life)
    one = Life(NOON, end, NOON + timedelta(seconds=life * part), since)
    assert one.due - since <= timedelta(seconds=life) * 0.6 + FLOOR


@given(st.integers(1, 10**6), chances)
def test_backoff_spreads_over_the_whole_of_its_range(count: int, chance: float) -> None:
    assert FLOOR <= backoff(Failure(count), chance) <= CEILING
    assert backoff(Failure(count), 0.0) == FLOOR


def test_ten_thousand_that_failed_together_come_back_apart() -> None:
    waits = sorted(backoff(Failure(6), number / 10_000) for number in range(10_000))
    assert max(sum(one <= wait < one + timedelta(seconds=1) for wait in waits) for one in waits[1000::1000]) < 200


def test_a_failure_has_happened() -> None:
    with pytest.raises(ValueError, match="at least once"):
        Failure(0)
