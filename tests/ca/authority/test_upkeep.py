from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

import pytest

from ca.authority import revoke, tasks, upkeep
from ca.authority.upkeep import Upkeep
from ca.policy.ceiling import TaskState
from ca.store import issuers, tokens
from ca.store.status import Revoked
from tests.ca.authority.stage import TENANT, Stage, failing, run

PATIENCE = 10.0


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "ROUND", 0.02)
    monkeypatch.setattr(upkeep, "_AFTER_A_FAULT", 0.02)


def numbers(stage: Stage) -> dict[tuple[str, int], int]:
    with stage.database.read() as connection:
        return {(one.issuer, one.shard): one.number for one in issuers.published(connection)}


def kept(
    stage: Stage,
    until: Callable[[], bool],
    *renewals: Callable[[], Awaitable[object]],
    meanwhile: Callable[[Upkeep], None] = lambda _: None,
) -> None:
    """Runs until something is so; fails when it does not become so, or when upkeep itself ends."""

    async def watch() -> None:
        kept = Upkeep(stage.authority, renewals)
        running = asyncio.create_task(kept.run())
        await asyncio.sleep(0)
        meanwhile(kept)
        try:
            async with asyncio.timeout(PATIENCE):
                while not until():
                    assert not running.done(), "upkeep ended"
                    await asyncio.sleep(0.005)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    run(watch())


def test_the_first_round_publishes_every_list(stage: Stage) -> None:
    kept(stage, lambda: len(numbers(stage)) == 3)


def test_nothing_is_published_before_its_time(stage: Stage) -> None:
    rounds: list[int] = []

    async def count() -> None:
        rounds.append(1)

    kept(stage, lambda: len(numbers(stage)) == 3)
    before = numbers(stage)
    stage.clock.forward(minutes=14)
    kept(stage, lambda: len(rounds) >= 3, count)
    assert numbers(stage) == before


def test_lists_are_made_anew_in_the_second_quarter_of_their_life(stage: Stage) -> None:
    """Case 18: nothing was revoked, and the list is fresh all the same."""
    kept(stage, lambda: len(numbers(stage)) == 3)
    before = numbers(stage)
    stage.clock.forward(minutes=15, seconds=1)
    kept(stage, lambda: all(numbers(stage)[name] > number for name, number in before.items()))


def test_a_revocation_wakes_it(ready: Stage) -> None:
    kept(ready, lambda: len(numbers(ready)) == 3)
    before = numbers(ready)
    issued = ready.enrolled()
    revoke.revoke_serial(ready.authority, issued.intent.serial, revoke.reason_of("keyCompromise"), "ops")
    kept(ready, lambda: numbers(ready)["issuing-1", 1] > before["issuing-1", 1], meanwhile=lambda one: one.wake())


def test_waking_before_it_runs_does_nothing(stage: Stage) -> None:
    Upkeep(stage.authority, ()).wake()


def test_overdue_tasks_end(ready: Stage) -> None:
    ready.task("short", deadline=ready.clock() + timedelta(minutes=2))
    ready.clock.forward(minutes=3)

    def ended() -> bool:
        with ready.database.read() as connection:
            return tasks.require(connection, TENANT, "short").task.state is TaskState.EXPIRED  # type: ignore[arg-type]

    kept(ready, ended)


def test_old_tokens_are_forgotten(ready: Stage) -> None:
    token = ready.token()
    ready.clock.forward(days=30, minutes=6)

    def forgotten() -> bool:
        with ready.database.read() as connection:
            return tokens.find(connection, [token]) == {}

    kept(ready, forgotten)


def test_a_signer_that_is_gone_ends_nothing(stage: Stage) -> None:
    """Case 18: it goes on trying, and the list is there as soon as the signer is back."""
    attempts: list[int] = []

    def gone(key: object, messages: object) -> object:
        attempts.append(1)
        if len(attempts) < 4:
            return failing()(key, messages)  # type: ignore[arg-type]
        stage.signer.instead = None
        return stage.signer.sign(key, messages)  # type: ignore[arg-type]

    stage.signer.instead = gone  # type: ignore[assignment]
    kept(stage, lambda: len(numbers(stage)) == 3)
    assert len(attempts) == 4


def test_renewals_are_made_in_each_round(stage: Stage) -> None:
    made: list[str] = []

    async def tls() -> None:
        made.append("tls")

    async def responder() -> None:
        made.append("responder")

    kept(stage, lambda: len(made) >= 4, tls, responder)
    assert made[:4] == ["tls", "responder", "tls", "responder"]


def test_what_ends_with_an_overdue_task_is_published_in_the_next_round(ready: Stage) -> None:
    """Only the last second of a certificate's life can fall together with its task's deadline."""
    kept(ready, lambda: len(numbers(ready)) == 3)
    before = numbers(ready)
    ready.task("short", deadline=ready.clock() + timedelta(minutes=2))
    issued = ready.enrolled(task="short")
    ready.clock.forward(minutes=2)
    kept(ready, lambda: numbers(ready)["issuing-1", 1] > before["issuing-1", 1])
    assert isinstance(ready.status(issued.intent), Revoked)
