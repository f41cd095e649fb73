"""Questions that wait together are looked up together, in one view of the database that is younger than all of them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from ca.authority.authority import Authority
from ca.batch import Batch
from ca.hook import inquiry
from ca.hook.inquiry import Found, Inquiry


class Lookups:
    """What everybody who asks in this process shares: one thread that reads, and what waits for it."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._reading = ThreadPoolExecutor(1, "hook-reader")
        self._batch: Batch[Inquiry, Found] = Batch(self._look_up)

    async def ask(self, asked: Inquiry) -> Found:
        """What there is now. Raises `Refused(UNAVAILABLE)`."""
        return await self._batch.ask(asked)

    async def _look_up(self, inquiries: list[Inquiry]) -> list[Found]:
        return await asyncio.get_running_loop().run_in_executor(self._reading, self._read, inquiries)

    def _read(self, inquiries: list[Inquiry]) -> list[Found]:
        with self._authority.database.read() as connection:
            return inquiry.look_up(self._authority, connection, inquiries)
