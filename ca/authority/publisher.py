"""The one that publishes the CRLs: of all replicas the holder of a lease, which another takes over once it lapses."""

from __future__ import annotations

import asyncio
from asyncio import to_thread, wrap_future
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import structlog

from ca.authority import lists
from ca.authority.authority import Authority
from ca.authority.publish import publish
from ca.pki.certificate import Issuer
from ca.refusals import Reason, Refused
from ca.store import leases
from ca.store.crls import Heading
from ca.store.leases import Lease
from ca.store.transaction import Connection

NAME = "crl"
LEASE = timedelta(seconds=4)
"""After a crash of the holder, lists wait so long at most."""

ROUND = 0.5
"""Seconds between two looks whether anything changed: another replica may have revoked."""

_AFTER_A_FAULT = 1.0

_Which = Callable[[Authority, Connection, Issuer], set[int]]

_log = structlog.get_logger("remit.publisher")


class Publisher:
    """`wake` may be called from any thread. `holder`: no other process has that name, nor this one after a restart."""

    def __init__(self, authority: Authority, holder: str) -> None:
        self._authority = authority
        self._holder = holder
        self._changed = asyncio.Event()
        # The lease tells processes apart, not what runs side by side in one.
        self._turn = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def wake(self) -> None:
        """Something was revoked: the lists are published at once."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._changed.set)

    async def run(self) -> None:
        """Rounds for ever. A fault is logged and tried again soon; it ends nothing."""
        self._loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            try:
                if await self.keep():
                    # NSS passes over a list of the same second as the one that it has.
                    await asyncio.sleep(1 - self._authority.clock().microsecond / 1_000_000)
            except Exception as error:  # noqa: BLE001 (border: whatever fails, the next round must come)
                _tell(error)
                await asyncio.sleep(_AFTER_A_FAULT)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), ROUND)

    async def keep(self) -> list[Heading]:
        """Publishes what is behind, if this is the replica that does; what was published."""
        async with self._turn:
            lease = await self._lease()
            if lease is None:
                return []
            async with self._renewing():
                return await self._publish(lease, lists.behind)

    async def publish(self) -> list[Heading]:
        """Publishes everything anew, whoever had the lease. Raises `Refused` as `ca.authority.publish` does."""
        async with self._turn:
            lease = await wrap_future(self._authority.database.write(self._seize))
            async with self._renewing():
                return await self._publish(lease, lists.everything)

    async def leave(self) -> None:
        """Gives the lease back."""
        database = self._authority.database
        await wrap_future(database.write(lambda connection: leases.give_back(connection, NAME, self._holder)))

    async def _publish(self, lease: Lease, which: _Which) -> list[Heading]:
        """Of both CAs: an unfit list of one keeps none of the other from being published."""
        published: list[Heading] = []
        unfit: list[Refused] = []
        for issuer in (self._authority.root, self._authority.issuer):
            try:
                if numbers := await to_thread(self._numbers, which, issuer):
                    published += await publish(self._authority, lease, issuer, numbers)
            except Refused as refusal:
                if refusal.reason is not Reason.LINT_FAILED:
                    raise
                unfit.append(refusal)
        if unfit:
            raise unfit[0]
        return published

    def _numbers(self, which: _Which, issuer: Issuer) -> set[int]:
        with self._authority.database.read() as connection:
            return which(self._authority, connection, issuer)

    async def _lease(self) -> Lease | None:
        """Ours, and for a while: it is written anew in its second half, and another's is only looked at."""
        now = self._authority.clock()
        with self._authority.database.read() as connection:
            held = leases.find(connection, NAME)
        # A clock that went back makes a lease seem long; none is.
        if held is not None and now < held.until <= now + LEASE:
            if held.lease.holder != self._holder:
                return None
            if now < held.until - LEASE / 2:
                return held.lease
        return await wrap_future(self._authority.database.write(self._take))

    @asynccontextmanager
    async def _renewing(self) -> AsyncIterator[None]:
        """While long lists are made: two replicas would take the lease from each other, and neither ever end one."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(LEASE.total_seconds() / 4)
                with suppress(Refused):
                    await wrap_future(self._authority.database.write(self._take))

        task = asyncio.create_task(renew())
        try:
            yield
        finally:
            task.cancel()

    def _take(self, connection: Connection) -> Lease | None:
        now = self._authority.clock()
        return leases.take(connection, NAME, self._holder, now, now + LEASE)

    def _seize(self, connection: Connection) -> Lease:
        return leases.seize(connection, NAME, self._holder, self._authority.clock() + LEASE)


def _tell(error: Exception) -> None:
    """Logs it. That the lease was lost is no fault."""
    reason = error.reason if isinstance(error, Refused) else None
    if reason is not Reason.CONFLICT:
        _log.warning("publishing-failed", error=repr(error), exc_info=None if reason else error)
