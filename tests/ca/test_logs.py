"""What strangers can cause to be logged is seldom written."""

from __future__ import annotations

import logging

import pytest
import structlog

from ca import logs
from ca.logs import Seldom, SeldomOfStrangers


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
    assert len(seldom._minutes._told) <= 1000


def test_refused_proofs_are_written_once_a_minute_each() -> None:
    """Whoever has any token of an issuer that the whole world uses, such as a CI, could fill the disk."""
    now = 0.0
    seldom = SeldomOfStrangers(lambda: now)
    refused = {"event": "proof refused", "provider": "ci", "why": "it is for another audience"}
    for event in (refused, refused | {"why": "it has expired"}, {"event": "serving"}, {"event": "serving"}):
        assert seldom(None, "info", dict(event)) == event
    for _ in range(7):
        with pytest.raises(structlog.DropEvent):
            seldom(None, "info", dict(refused))
    now = 60.0
    assert seldom(None, "info", dict(refused)) == refused | {"untold": 7}


def test_every_server_writes_them_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    before = structlog.get_config()
    monkeypatch.setattr(logging, "basicConfig", lambda **_options: None)
    try:
        logs.to_standard_error()
        for _ in range(3):
            structlog.get_logger("remit.proofs").info("proof refused", provider="ci", why="it has expired")
    finally:
        structlog.configure(**before)
    assert capsys.readouterr().err.count("proof refused") == 1
