"""What strangers can cause to be logged is seldom written."""

from __future__ import annotations

import logging

from ca.logs import Seldom


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("uvicorn.error", logging.WARNING, __file__, 1, message, None, None)


def test_the_same_message_passes_once_a_minute_with_how_many_there_were() -> None:
    now = 0.0
    seldom = Seldom(lambda: now)
    assert seldom.filter(record("bad"))
    assert not any(seldom.filter(record("bad")) for _ in range(7))
    assert seldom.filter(record("worse"))
    now = 59.9
    assert not seldom.filter(record("bad"))
    now = 60.0
    again = record("bad")
    assert seldom.filter(again)
    assert again.getMessage() == "bad (8 more in the minutes before)"


def test_messages_that_differ_each_time_take_no_memory() -> None:
    seldom = Seldom(lambda: 0.0)
    assert all(seldom.filter(record(f"bad {number}")) for number in range(5000))
    assert len(seldom._told) <= 1000
