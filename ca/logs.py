"""Logs: one JSON object a line on standard error. Called once, by each server's `main`.

What strangers cause at will is written once a minute.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Hashable

import structlog
from structlog.typing import EventDict

_MINUTE = 60.0
_MOST = 1000
"""Messages that are remembered; all are forgotten beyond."""

OF_STRANGERS = frozenset({"proof refused"})
"""Our own events that somebody outside causes: whoever can have a real token from a provider that many use."""


class _Minutes:
    """What was told in the last minute, and how often it came since."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._told: dict[Hashable, float] = {}
        self._untold: Counter[Hashable] = Counter()

    def untold(self, message: Hashable) -> int | None:
        """How many of it were not told before this one, which is to be told now; None where it is not."""
        now = self._clock()
        if now - self._told.get(message, -_MINUTE) < _MINUTE:
            self._untold[message] += 1
            return None
        if len(self._told) >= _MOST:
            self._told.clear()
            self._untold.clear()
        self._told[message] = now
        return self._untold.pop(message, 0)


class Seldom(logging.Filter):
    """Passes the same message of a library once a minute, with how many there were."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._minutes = _Minutes(clock)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is written; `record` is told how many were not."""
        untold = self._minutes.untold((record.name, str(record.msg)))
        if untold:
            record.msg = f"{record.msg} ({untold} more in the minutes before)"
        return untold is not None


class SeldomOfStrangers:
    """The same for our own events `OF_STRANGERS`: a processor of structlog, before the time is added."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._minutes = _Minutes(clock)

    def __call__(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        """The event, told how many were not written. Raises `structlog.DropEvent` for one of those."""
        if event["event"] not in OF_STRANGERS:
            return event
        untold = self._minutes.untold(tuple(sorted((name, str(value)) for name, value in event.items())))
        if untold is None:
            raise structlog.DropEvent
        return {**event, "untold": untold} if untold else event


def to_standard_error() -> None:
    """Sets up both structlog and what libraries log by `logging` (warnings and above)."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(Seldom())
    structlog.configure(
        processors=[
            SeldomOfStrangers(),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
