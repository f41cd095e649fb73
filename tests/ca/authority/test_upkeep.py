from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

import pytest

from ca.authority import agents, tasks, upkeep
from ca.authority.upkeep import Upkeep
from ca.identifiers import AgentId, TaskId, Thumbprint
from ca.policy.ceiling import TaskState
from ca.refusals import Reason, Refused
from ca.store import agents as registry
from ca.store import spent_proofs, tokens
from ca.store.status import Revoked
from tests.ca.authority.stage import TENANT, Stage, run

PATIENCE = 10.0


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "ROUND", 0.02)
    monkeypatch.setattr(upkeep, "_AFTER_A_FAULT", 0.02)


def kept(stage: Stage, until: Callable[[], bool], *renewals: Callable[[], Awaitable[object]]) -> None:
    """Runs until something is so; fails when it does not become so, or when upkeep itself ends."""

    async def watch() -> None:
        running = asyncio.create_task(Upkeep(stage.authority, renewals).run())
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


def ended(stage: Stage, task: str) -> bool:
    with stage.database.read() as connection:
        return tasks.require(connection, TENANT, TaskId(task)).task.state is TaskState.EXPIRED


def test_overdue_tasks_end(ready: Stage) -> None:
    ready.task("short", deadline=ready.clock() + timedelta(minutes=2))
    ready.clock.forward(minutes=3)
    kept(ready, lambda: ended(ready, "short"))


def test_a_spent_proof_is_remembered_while_a_replica_whose_clock_is_behind_would_take_it(stage: Stage) -> None:
    """Two are as far apart as they may be: where the proof is seen once more, it still counts as spent."""
    fresh, stale = Thumbprint.of(b"fresh"), Thumbprint.of(b"stale")
    apart = {fresh: timedelta(seconds=5), stale: timedelta(seconds=6)}
    expired = {proof: stage.clock() - ago for proof, ago in apart.items()}
    stage.database.write(lambda connection: spent_proofs.spend(connection, expired)).result()

    def remembered() -> set[Thumbprint]:
        with stage.database.read() as connection:
            return spent_proofs.spent(connection, {fresh, stale})

    kept(stage, lambda: stale not in remembered())
    assert remembered() == {fresh}


def test_what_ends_with_an_overdue_task_is_revoked(ready: Stage) -> None:
    """Only the last second of a certificate's life can fall together with its task's deadline."""
    ready.task("short", deadline=ready.clock() + timedelta(minutes=2))
    issued = ready.enrolled(task="short")
    ready.clock.forward(minutes=2)
    kept(ready, lambda: isinstance(ready.status(issued.intent), Revoked))


def test_old_tokens_are_forgotten(ready: Stage) -> None:
    token = ready.token()
    ready.clock.forward(days=30, minutes=6)

    def forgotten() -> bool:
        with ready.database.read() as connection:
            return tokens.find(connection, [token]) == {}

    kept(ready, forgotten)


def test_children_that_ended_long_ago_are_forgotten(ready: Stage) -> None:
    """Not one that is suspended, which its parent could register anew; nor anybody whom an operator registered."""
    ready.agent("planner", max_depth=1)
    parent = ready.enrolled("planner", task=None)
    for name in ("planner.old", "planner.stopped"):
        ready.delegate(parent, name)
    agents.suspend(ready.authority, TENANT, AgentId("planner.stopped"), "ops")
    ready.clock.forward(days=29)
    ready.delegate(ready.enrolled("planner", task=None), "planner.new")
    ready.clock.forward(days=1, minutes=16)

    def left() -> list[str]:
        with ready.database.read() as connection:
            return [one.agent.id for one in registry.page(connection, TENANT, None, 10)]

    kept(ready, lambda: "planner.old" not in left())
    assert left() == ["bot", "planner", "planner.new", "planner.stopped"]


@pytest.mark.parametrize("error", [RuntimeError("unforeseen"), Refused(Reason.UNAVAILABLE, "The token is gone.")])
def test_a_renewal_that_fails_ends_nothing(ready: Stage, error: Exception) -> None:
    """Case 18: it goes on trying, and all the rest is done as soon as it can be."""
    attempts: list[int] = []

    async def renewal() -> None:
        attempts.append(1)
        if len(attempts) < 4:
            raise error

    ready.task("short", deadline=ready.clock() + timedelta(minutes=2))
    ready.clock.forward(minutes=3)
    kept(ready, lambda: ended(ready, "short"), renewal)
    assert len(attempts) >= 4


def test_renewals_are_made_in_each_round(stage: Stage) -> None:
    made: list[str] = []

    async def tls() -> None:
        made.append("tls")

    async def responder() -> None:
        made.append("responder")

    kept(stage, lambda: len(made) >= 4, tls, responder)
    assert made[:4] == ["tls", "responder", "tls", "responder"]
