from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca.policy.renewal import renew_after
from tests.ca.policy.test_ceiling import NOW

LIVES = st.timedeltas(timedelta(seconds=1), timedelta(hours=1))
OVERLAPS = st.timedeltas(timedelta(0), timedelta(hours=2))
CHANCES = st.floats(0, 1)
QUARTER, FIVE = timedelta(minutes=15), timedelta(minutes=5)


@pytest.mark.parametrize(
    ("life", "overlap", "chance", "expected"),
    [
        (QUARTER, FIVE, 0, timedelta(minutes=6)),
        (QUARTER, FIVE, 0.5, timedelta(minutes=7.5)),
        (QUARTER, FIVE, 1, timedelta(minutes=9)),
        # Less than five minutes would be left.
        (timedelta(minutes=10), FIVE, 1, timedelta(minutes=5)),
        # Longer than the life: soon, and not at once.
        (timedelta(minutes=4), FIVE, 1, timedelta(seconds=48)),
    ],
)
def test_half_of_the_life_or_sooner(life: timedelta, overlap: timedelta, chance: float, expected: timedelta) -> None:
    assert abs(renew_after(NOW, NOW + life, overlap, chance) - NOW - expected) < timedelta(milliseconds=1)


@given(LIVES, OVERLAPS, CHANCES)
def test_the_old_one_goes_on_beside_the_new_and_nobody_renews_in_a_loop(
    life: timedelta, overlap: timedelta, chance: float
) -> None:
    after = renew_after(NOW, NOW + life, overlap, chance) - NOW
    assert life * 0.13 < after <= life * 0.6 + timedelta(milliseconds=1)
    if overlap <= life * 0.8:
        assert life - after >= min(overlap, life * 0.4) - timedelta(milliseconds=1)


def test_a_storm_of_ten_thousand_is_spread() -> None:
    """All enrolled in one second: at its worst a second has twice its share."""
    random = Random(7)
    due: Counter[datetime] = Counter(
        renew_after(NOW, NOW + QUARTER, FIVE, random.random()).replace(microsecond=0) for _ in range(10_000)
    )
    assert len(due) >= 180
    assert max(due.values()) < 2 * 10_000 / 180
