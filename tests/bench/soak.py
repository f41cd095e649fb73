"""Memory over an hour's worth of requests: at full rate, with a line laid through what each process holds.

An hour's worth is what ten thousand agents ask for in an hour: each starts once, and renews its
15-minute certificate at half its life, eight times an hour: 90,000 requests; 100,000 is taken.
"""

from __future__ import annotations

from pathlib import Path
from statistics import linear_regression
from typing import Any

from tests.bench.generator import Generator
from tests.bench.measure import Say
from tests.bench.process import rss
from tests.bench.services import Ours

HOURS_WORTH = 100_000
"""Requests."""

_SLICE = 5.0
_SLICES = 8
"""At least: a line needs points."""

_CLIENTS = 32
_SPARE = 1.5
_FASTEST, _SLOWEST = 3000.0, 100.0
_SETTLED = 0.25
"""Of the requests: caches fill and pools grow until then, so the line is laid through the rest."""


def soak(directory: Path, generator: Generator, seconds: float, say: Say) -> dict[str, Any]:
    """Runs SQLite and SoftHSM at full rate for that long, and says what each process came to hold."""
    ours = Ours(directory / "soak", "softhsm").init()
    try:
        ours.start()
        return _run(ours, generator, seconds, say)
    finally:
        ours.stop()


def _run(ours: Ours, generator: Generator, seconds: float, say: Say) -> dict[str, Any]:
    processes = ours.processes()
    points = {name: [(0, rss(pid))] for name, pid in processes.items()}
    rate, errors = _FASTEST, 0
    slices = max(_SLICES, round(seconds / _SLICE))
    each = seconds / slices
    for number in range(slices):
        if (missing := int(max(rate, _SLOWEST) * _SPARE * each) - ours.target.left) > 0:
            ours.stock(missing)
        seen = generator.enrol(ours.target, clients=_CLIENTS, seconds=each, warm_up=0)
        rate, errors = seen["rate"], errors + seen["errors"]
        for name, pid in processes.items():
            points[name].append((ours.target.spent, rss(pid)))
        say(f"soak: {(number + 1) * each:.0f} of {seconds:.0f} s, {ours.target.spent:,} requests, {rate:,.0f}/s")
    return {
        "requests": ours.target.spent,
        "errors": errors,
        "hours_worth": HOURS_WORTH,
        "processes": [_told(name, seen) for name, seen in points.items()],
    }


def _told(process: str, points: list[tuple[int, int]]) -> dict[str, Any]:
    """RSS in KiB; the slope is that of the line through the points after the first quarter."""
    last = points[-1][0]
    settled = [point for point in points if point[0] >= last * _SETTLED]
    slope = linear_regression([point[0] for point in settled], [point[1] for point in settled]).slope
    return {
        "process": process,
        "at_start": points[0][1],
        "settled": settled[0][1],
        "after": points[-1][1],
        "slope_per_hours_worth": round(slope * HOURS_WORTH),
        "points": points,
    }
