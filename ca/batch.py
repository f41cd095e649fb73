"""A hop to another thread costs as much as several signatures: those who wait together share one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from ca.refusals import Reason, Refused

Asked = TypeVar("Asked")
Told = TypeVar("Told")

MAX_BATCH = 64
MAX_WAITING = 2048
PATIENCE = 5.0
"""Seconds after which a database or a token that does not answer is taken to be away."""


class Batch(Generic[Asked, Told]):
    """What is asked while one hop is under way travels in the next. No timer: an idle batch leaves at once."""

    def __init__(self, act: Callable[[list[Asked]], Awaitable[list[Told]]]) -> None:
        self._act = act
        self._waiting: list[tuple[Asked, asyncio.Future[Told]]] = []
        self._running: asyncio.Task[None] | None = None

    async def ask(self, asked: Asked) -> Told:
        """What `act` told of this one. Raises `Refused(UNAVAILABLE)` when it cannot, or too many wait."""
        if len(self._waiting) >= MAX_WAITING:
            raise Refused(Reason.UNAVAILABLE, "Too many questions are waiting.")
        future: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
            try:
                told = await hop(self._told([asked for asked, _ in batch]))
            except Refused as refused:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(Refused(refused.reason, refused.detail))
            else:
                for (_, future), one in zip(batch, told, strict=True):
                    if not future.done():
                        future.set_result(one)
        self._running = None

    async def _told(self, asked: list[Asked]) -> list[Told]:
        told = await self._act(asked)
        if len(told) != len(asked):
            raise ValueError("not one answer for each question")
        return told


class Shared(Generic[Told]):
    """Those who want the same at the same time wait for one who makes it."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, asyncio.Task[Told]] = {}

    async def wait(self, name: Hashable, make: Callable[[], Coroutine[Any, Any, Told]]) -> Told:
        """What `make` makes, or what is being made under this name."""
        task = self._under_way.get(name)
        if task is None:
            task = self._under_way[name] = asyncio.create_task(make())
            task.add_done_callback(lambda _: self._under_way.pop(name))
        # One who asked may go away; the others still wait.
        return await asyncio.shield(task)


async def hop(awaited: Awaitable[Told]) -> Told:
    """Waits for another thread, for `PATIENCE` at most.

    Raises `Refused(UNAVAILABLE)` whatever went wrong there: this is the border to a driver and a
    module that may fail in any way of their own. They are not cancelled, only no longer waited for.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            return await asyncio.shield(awaited)
    except Exception as error:
        raise Refused(Reason.UNAVAILABLE, f"Away for the moment ({type(error).__name__}).") from error
