"""Logs: one JSON object a line on standard error. Called once, by each server's `main`."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable

import structlog

_MINUTE = 60.0
_MOST = 1000
"""Messages that are remembered; all are forgotten beyond."""


class Seldom(logging.Filter):
    """Passes the same message once a minute, with how many there were: strangers cause some of them at will."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._told: dict[tuple[str, str], float] = {}
        self._untold: Counter[tuple[str, str]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is written; `record` is told how many were not."""
        message, now = (record.name, str(record.msg)), self._clock()
        if now - self._told.get(message, -_MINUTE) < _MINUTE:
            self._untold[message] += 1
            return False
        if len(self._told) >= _MOST:
            self._told.clear()
            self._untold.clear()
        self._told[message] = now
        if untold := self._untold.pop(message, 0):
            record.msg = f"{record.msg} ({untold} more in the minutes before)"
        return True


def to_standard_error() -> None:
    """Sets up both structlog and what libraries log by `logging` (warnings and above)."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(Seldom())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
