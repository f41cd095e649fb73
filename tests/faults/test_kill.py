"""`kill -9` between any two requests, then up again: every certificate handed out is there and revocable."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.world import World, key_and_csr

ROUNDS = 3
AGENTS_A_ROUND = 4


@pytest.fixture
def own(tmp_path: Path) -> Iterator[World]:
    """A world of its own, because it is killed."""
    made = World(tmp_path).init().start()
    yield made
    made.stop()


@pytest.mark.slow
def test_what_was_handed_out_survives_sigkill_and_can_be_revoked(own: World) -> None:
    handed_out: list[str] = []
    for _ in range(ROUNDS):
        tokens = [own.token(own.new_agent()) for _ in range(AGENTS_A_ROUND)]
        for token in tokens:
            answer = own.post_csr(token, key_and_csr()[1])
            assert answer.status_code == 201, answer.text
            handed_out.append(answer.json()["serial"])
        own.stop(signal.SIGKILL)
        own.start()
    _all_live_then_revoked(own, handed_out)


def test_a_kill_in_the_middle_of_a_stream_loses_nothing_that_was_answered(own: World) -> None:
    tokens = [own.token(own.new_agent()) for _ in range(40)]
    handed_out: list[str] = []
    first = threading.Event()

    def stream() -> None:
        for token in tokens:
            try:
                answer = own.post_csr(token, key_and_csr()[1])
            except httpx2.HTTPError:
                return
            handed_out.append(answer.json()["serial"])
            first.set()

    sender = threading.Thread(target=stream)
    sender.start()
    assert first.wait(10)
    own.stop(signal.SIGKILL)
    sender.join()
    assert len(handed_out) < len(tokens), "the kill came after the last answer"
    own.start()
    _all_live_then_revoked(own, handed_out)


def test_a_revocation_that_was_answered_survives_sigkill_right_after(own: World) -> None:
    serial = own.post_csr(own.token(own.new_agent()), key_and_csr()[1]).json()["serial"]
    with own.operator() as operator:
        assert operator.post(f"/v1/certificates/{serial}/revoke", json={"reason": "keyCompromise"}).status_code == 200
    own.stop(signal.SIGKILL)
    own.start()
    with own.operator() as operator:
        assert operator.get(f"/v1/certificates/{serial}").json()["state"] == "revoked"
        # Whoever published before the kill has a lease for four seconds more.
        deadline = time.monotonic() + 5
        while len(held := _lists_with_entries(operator)) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
    assert len(held) == 2, "in the full list and in one shard"
    assert 0 in held


def _all_live_then_revoked(own: World, serials: list[str]) -> None:
    assert serials
    with own.operator() as operator:
        for serial in serials:
            found = operator.get(f"/v1/certificates/{serial}")
            assert (found.status_code, found.json()["state"]) == (200, "live")
            revoked = operator.post(f"/v1/certificates/{serial}/revoke", json={"reason": "superseded"})
            assert (revoked.status_code, revoked.json()["state"]) == (200, "revoked")


def _lists_with_entries(operator: httpx2.Client) -> set[int]:
    """By their shards, without the delta."""
    lists = operator.get("/v1/crls").json()["items"]
    return {item["shard"] for item in lists if item["issuer"] == "issuing-1" and item["entries"]} - {-1}
