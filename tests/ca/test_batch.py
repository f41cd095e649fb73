"""Those who wait together share a hop; whatever fails there reaches each of them as one refusal."""

from __future__ import annotations

import asyncio

import pytest

from ca import batch
from ca.batch import MAX_BATCH, MAX_WAITING, Batch, hop
from ca.refusals import Reason, Refused
from tests.ocsp.house import run


class Hops:
    """Doubles numbers, and remembers who travelled together."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.seen: list[list[int]] = []
        self.fault = fault

    async def __call__(self, asked: list[int]) -> list[int]:
        self.seen.append(asked)
        await asyncio.sleep(0.001)
        if self.fault is not None:
            raise self.fault
        return [2 * one for one in asked]


async def ask_all(numbers: range, hops: Hops) -> list[int | BaseException]:
    shared = Batch(hops)
    return await asyncio.gather(*(shared.ask(number) for number in numbers), return_exceptions=True)


def test_everybody_gets_the_own_answer_in_few_hops() -> None:
    hops = Hops()
    assert run(ask_all(range(1000), hops)) == [2 * number for number in range(1000)]
    assert max(map(len, hops.seen)) == MAX_BATCH
    assert len(hops.seen) == -(-1000 // MAX_BATCH)


@pytest.mark.parametrize("fault", [RuntimeError("a driver's own"), Refused(Reason.UNAVAILABLE, "Down."), OSError()])
def test_a_failed_hop_refuses_each_who_waited(fault: Exception) -> None:
    told = run(ask_all(range(3), Hops(fault)))
    assert [type(one) for one in told] == [Refused] * 3
    assert len({id(one) for one in told}) == 3


def test_an_answer_too_few_is_a_failure_too() -> None:
    async def short(asked: list[int]) -> list[int]:
        return asked[1:]

    async def act() -> list[int | BaseException]:
        shared = Batch(short)
        return await asyncio.gather(shared.ask(1), shared.ask(2), return_exceptions=True)

    assert [type(one) for one in run(act())] == [Refused] * 2


def test_after_a_failure_the_next_hop_is_a_new_one() -> None:
    async def act() -> int:
        hops = Hops(RuntimeError())
        shared = Batch(hops)
        with pytest.raises(Refused):
            await shared.ask(1)
        hops.fault = None
        return await shared.ask(4)

    assert run(act()) == 8


def test_one_who_went_away_takes_nobody_along() -> None:
    async def act() -> int:
        shared = Batch(Hops())
        gone = asyncio.create_task(shared.ask(1))
        stays = asyncio.create_task(shared.ask(2))
        await asyncio.sleep(0)
        gone.cancel()
        return await stays

    assert run(act()) == 4


def test_too_many_are_refused_at_once() -> None:
    told = run(ask_all(range(MAX_WAITING + 5), Hops()))
    assert sum(isinstance(one, Refused) for one in told) == 5


def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "PATIENCE", 0.01)

    async def act() -> None:
        never: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        with pytest.raises(Refused):
            await hop(never)
        # The other side is left alone: a driver's future that was cancelled under its hands would surprise it.
        assert not never.cancelled()

    run(act())
