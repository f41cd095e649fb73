"""What goes on by itself beside the lists: its own certificates renewed, overdue tasks ended, old tokens forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog

from ca.authority import tasks
from ca.authority.authority import Authority
from ca.authority.issuance import CLOCK_TOLERANCE
from ca.refusals import Refused
from ca.store import agents, idempotency, spent_proofs, tokens

ROUND = 5.0
"""Seconds between two rounds."""

_AFTER_A_FAULT = 1.0
_KEPT = timedelta(days=30)
_BETWEEN_SWEEPS = timedelta(hours=1)
"""Children are looked through for those that ended: each costs a look at its certificates."""

_log = structlog.get_logger("remit.upkeep")


class Upkeep:
    """Runs in the server's event loop until it is cancelled."""

    def __init__(self, authority: Authority, renewals: tuple[Callable[[], Awaitable[object]], ...]) -> None:
        self._authority = authority
        self._renewals = renewals
        self._swept_at: datetime | None = None

    async def run(self) -> None:
        """Rounds for ever. A fault is logged and tried again soon; it ends nothing."""
        while True:
            try:
                await self._round()
                await asyncio.sleep(ROUND)
            except Exception as error:  # noqa: BLE001 (border: whatever fails, the next round must come)
                _log.warning("upkeep-failed", error=repr(error), exc_info=not isinstance(error, Refused))
                await asyncio.sleep(_AFTER_A_FAULT)

    async def _round(self) -> None:
        for renew in self._renewals:
            await renew()
        await asyncio.to_thread(tasks.expire, self._authority)
        now = self._authority.clock()
        self._authority.database.write(lambda connection: tokens.forget(connection, now - _KEPT))
        self._authority.database.write(lambda connection: idempotency.forget(connection, now))
        # Another replica, whose clock is behind, takes such a proof a moment longer than this one would.
        self._authority.database.write(lambda connection: spent_proofs.forget(connection, now - CLOCK_TOLERANCE))
        if self._swept_at is None or now - self._swept_at >= _BETWEEN_SWEEPS:
            self._authority.database.write(lambda connection: agents.forget_children(connection, now - _KEPT))
            self._swept_at = now
