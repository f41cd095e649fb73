"""What began and was not answered: an audit entry of its own, because the act's was undone with the act, or granted."""

from __future__ import annotations

from asyncio import wrap_future

from ca.authority.authority import Authority
from ca.refusals import Refused
from ca.store import audit
from ca.store.audit import Entry
from ca.store.transaction import Connection

STRANGER = "stranger"


async def note(authority: Authority, actor: str | None, act: str, error: BaseException) -> None:
    """Writes that `act` failed for `actor`, None for one who proved nothing. It never raises: it is on the way out.

    Only the kind of the error: its text may hold what must not be kept.
    """
    entry = Entry(authority.clock(), actor or STRANGER, act, "failed", detail={"error": type(error).__name__})

    def write(connection: Connection) -> None:
        audit.append(connection, entry)

    try:
        await wrap_future(authority.database.write(write))
    except Refused:  # the database is what failed: the log has it
        return
