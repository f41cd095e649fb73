"""Logs: one JSON object a line on standard error. Called once, by each server's `main`."""

from __future__ import annotations

import logging
import sys

import structlog


def to_standard_error() -> None:
    """Sets up both structlog and what libraries log by `logging` (warnings and above)."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
