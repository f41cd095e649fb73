"""The board of a watchman that goes on: a look that is old is no good news."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from http import HTTPStatus

import pytest

from remit.watch.finding import Finding, Kind, State
from remit.watch.look import Look
from remit.watch.serve import Board
from tests.remit.watch.pki import FULL, NOW

EVERY = timedelta(seconds=30)


def board(state: State | None, now: datetime = NOW) -> tuple[HTTPStatus, str]:
    made = Board(EVERY, lambda: now)
    if state is not None:
        made.look = Look(NOW, (Finding(Kind.CRL, FULL, state),), {})
    status, text = made.health()
    return status, json.loads(text)["state"]


@pytest.mark.parametrize(
    ("state", "status", "word"),
    [
        (State.FRESH, HTTPStatus.OK, "fresh"),
        (State.WARNING, HTTPStatus.SERVICE_UNAVAILABLE, "warning"),
        (State.CRITICAL, HTTPStatus.SERVICE_UNAVAILABLE, "critical"),
        (None, HTTPStatus.SERVICE_UNAVAILABLE, "critical"),
    ],
)
def test_it_is_well_only_when_all_is_fresh(state: State | None, status: HTTPStatus, word: str) -> None:
    assert board(state) == (status, word)


def test_a_watchman_that_hangs_does_not_say_that_all_is_well() -> None:
    assert board(State.FRESH, NOW + 3 * EVERY) == (HTTPStatus.OK, "fresh")
    assert board(State.FRESH, NOW + timedelta(minutes=3)) == (HTTPStatus.SERVICE_UNAVAILABLE, "critical")
