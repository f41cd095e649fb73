"""A token bucket."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ocsp.meter import Meter


@given(st.lists(st.floats(min_value=0, max_value=3), max_size=200))
def test_never_more_than_the_burst_and_the_rate(pauses: list[float]) -> None:
    now = 0.0
    meter = Meter(rate=2, burst=5, clock=lambda: now)
    passed = 0
    for pause in pauses:
        now += pause
        passed += meter.take()
        assert passed <= 5 + 2 * now + 1e-6


def test_a_burst_passes_then_the_rate() -> None:
    now = 0.0
    meter = Meter(rate=2, burst=3, clock=lambda: now)
    assert [meter.take() for _ in range(5)] == [True, True, True, False, False]
    now = 0.5
    assert [meter.take() for _ in range(2)] == [True, False]
    now = 100
    assert sum(meter.take() for _ in range(10)) == 3
