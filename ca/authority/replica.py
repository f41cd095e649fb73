"""This process among the replicas of one authority: the first octet of its serials, leased in the database."""

from __future__ import annotations

from asyncio import wrap_future
from collections.abc import Callable
from datetime import datetime, timedelta

from ca.refusals import Reason, Refused
from ca.store import replicas
from ca.store.transaction import Connection, Database

LEASE = timedelta(seconds=60)
"""A dozen rounds of upkeep, each of which renews it."""


class Replica:
    """`keep` takes the lease at start, and renews it from then on; `octet` is what a transaction of intents asks.

    `holder` is a name that no other process has, nor this one after a restart.
    """

    def __init__(self, database: Database, clock: Callable[[], datetime], holder: str) -> None:
        self._database = database
        self._clock = clock
        self._holder = holder
        self._octet: int | None = None

    async def keep(self) -> None:
        """Renews the lease, or takes another when it is lost. Raises `Refused(UNAVAILABLE)` when none is free."""
        self._octet = await wrap_future(self._database.write(self._kept))

    def octet(self, connection: Connection) -> int:
        """The octet, which nobody else can take before this transaction ends.

        No clock is asked: as long as the row is ours nobody took it, however late we are.
        Raises `Refused(UNAVAILABLE)` when the lease is lost: nothing may be issued.
        """
        octet = self._octet
        if octet is None or not replicas.held(connection, octet, self._holder):
            raise Refused(
                Reason.UNAVAILABLE, "This replica lost its place among the others; it takes a new one in a moment."
            )
        return octet

    def living(self) -> set[int]:
        """The octets of replicas that live, this one's with them: their unfinished intents are theirs to finish."""
        with self._database.read() as connection:
            return replicas.leased(connection, self._clock()) | ({self._octet} if self._octet is not None else set())

    async def leave(self) -> None:
        """Gives the octet back."""
        self._octet = None
        await wrap_future(self._database.write(lambda connection: replicas.release(connection, self._holder)))

    def _kept(self, connection: Connection) -> int:
        now = self._clock()
        until = now + LEASE
        if self._octet is not None and replicas.renew(connection, self._octet, self._holder, until):
            return self._octet
        taken = replicas.take(connection, self._holder, now, until)
        if taken is None:
            raise Refused(Reason.UNAVAILABLE, f"All {len(replicas.OCTETS)} places of replicas are taken.")
        return taken
