"""Those who ask while something else is measured: at every responder, so many a second, until it is over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.bench.generator import Asking, Generator
from tests.bench.revocation.plan import Plan
from tests.bench.revocation.site import Site

_CLIENTS = 8
_LONGEST = 3600.0
_WARM_UP = 1.0
"""Seconds in which the answers are signed for the first time."""

_SUMS = ("count", "try_later", "errors", "rate")
_WORST = ("p50_ms", "p99_ms", "max_ms", "longest_gap_ms")


@dataclass
class Background:
    """What each load generator printed."""

    results: list[dict[str, Any]] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """All responders together: sums of what is counted, the worst of what is timed."""
        first = next((one["first_error"] for one in self.results if one["errors"]), None)
        return {
            **{name: sum(one[name] for one in self.results) for name in _SUMS},
            **{name: max(one[name] for one in self.results) for name in _WORST},
            "first_error": first,
        }


@contextmanager
def background(site: Site, plan: Plan, generator: Generator, serials: list[bytes]) -> Iterator[Background]:
    """Asks about these again and again. What came of it is there after the context."""
    asked = site.ask("background", serials)
    rate = plan.load / len(site.responders)
    asking = Asking(clients=_CLIENTS, seconds=_LONGEST, warm_up=_WARM_UP, rate=rate, again=True)
    running = [generator.ask(one.ocsp_url, asked, asking) for one in site.responders]
    load = Background()
    time.sleep(_WARM_UP)
    try:
        yield load
    finally:
        load.results = [one.stop() for one in running]
