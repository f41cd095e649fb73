"""Who renews and who revokes: neither slips past the other.

What is renewed or delegated is decided on a live certificate and stored; what is revoked is what is stored. So on
PostgreSQL one lock stands between the two to the end of the transaction: who renews shares it, who revokes has it
alone. It queues, and a revocation is not passed by the renewals that come after it.

It comes before every other lock, as strong as any act of the transaction needs it: two that hold it together, and
each want it alone, would wait for one another. SQLite has one writer.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from sqlalchemy import Connection, text

_KEY = int.from_bytes(b"stand")
"""Of an advisory lock: a number that nothing else in the database uses."""


class Stillness(IntEnum):
    """What stands still until the transaction ends."""

    REVOKING = 1
    EVERYTHING = 2


_LOCKS = {
    Stillness.REVOKING: text(f"SELECT pg_advisory_xact_lock_shared({_KEY})"),
    Stillness.EVERYTHING: text(f"SELECT pg_advisory_xact_lock({_KEY})"),
}


def take(connection: Connection, wanted: Iterable[Stillness | None]) -> None:
    """Waits until it can be had, as strong as the strongest that is wanted."""
    strongest = max((one for one in wanted if one is not None), default=None)
    if strongest is not None and connection.dialect.name == "postgresql":
        connection.execute(_LOCKS[strongest])
