"""What goes on by itself: CRLs at once and on schedule, its own certificates renewed, overdue tasks ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta

import structlog

from ca.authority import tasks
from ca.authority.authority import Authority
from ca.authority.publish import lists, publish
from ca.refusals import Refused
from ca.store import idempotency, issuers, tokens
from ca.store.issuers import PublishedCrl

ROUND = 5.0
"""Seconds between two rounds when nothing wakes one."""

_AFTER_A_FAULT = 1.0
_TOKENS_KEPT = timedelta(days=30)

_log = structlog.get_logger("remit.upkeep")


class Upkeep:
    """Runs in the server's event loop until it is cancelled. `wake` may be called from any thread."""

    def __init__(self, authority: Authority, renewals: tuple[Callable[[], Awaitable[object]], ...]) -> None:
        self._authority = authority
        self._renewals = renewals
        self._revoked = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def wake(self) -> None:
        """Something was revoked: the CRLs are published at once."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._revoked.set)

    async def run(self) -> None:
        """Rounds for ever. A fault is logged and tried again soon; it ends nothing."""
        self._loop = asyncio.get_running_loop()
        pause = 0.0
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._revoked.wait(), pause)
            try:
                await self._round()
                pause = ROUND
            except Exception as error:  # noqa: BLE001 (border: whatever fails, the next round must come)
                _log.warning("upkeep-failed", error=repr(error), exc_info=not isinstance(error, Refused))
                # What woke this round is still to be done, but not in a tight loop.
                pause = _AFTER_A_FAULT
                await asyncio.sleep(pause)
                self._revoked.set()

    async def _round(self) -> None:
        if self._revoked.is_set() or self._is_due():
            # Cleared before the lists are read: what is revoked meanwhile wakes the next round.
            self._revoked.clear()
            await publish(self._authority)
        for renew in self._renewals:
            await renew()
        ended = await asyncio.to_thread(tasks.expire, self._authority)
        if any(one.revoked for one in ended):
            self._revoked.set()
        now = self._authority.clock()
        self._authority.database.write(lambda connection: tokens.forget(connection, now - _TOKENS_KEPT))
        self._authority.database.write(lambda connection: idempotency.forget(connection, now))

    def _is_due(self) -> bool:
        """Whether a list is in the second quarter of its life, or there is none yet."""
        now = self._authority.clock()
        with self._authority.database.read() as connection:
            published = issuers.published(connection)
        return len(published) < len(lists(self._authority)) or any(_quarter_is_over(crl, now) for crl in published)


def _quarter_is_over(crl: PublishedCrl, now: datetime) -> bool:
    return now >= crl.this_update + (crl.next_update - crl.this_update) / 4
