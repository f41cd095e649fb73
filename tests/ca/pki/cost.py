"""What an act costs in CPU time, without what the machine happened to do beside it."""

from __future__ import annotations

import time
from collections.abc import Callable

_ROUNDS = 3


def cpu_seconds(act: Callable[[], object]) -> float:
    """The cheapest of three rounds: a collection of garbage falls into one of them, a slow parser into all."""
    return min(_once(act) for _ in range(_ROUNDS))


def _once(act: Callable[[], object]) -> float:
    began = time.process_time()
    act()
    return time.process_time() - began
