"""Which replica draws the serials that begin with which octet: leases, so that no two ever draw one serial.

A lease that lapsed is another's to take, and only then does its row change hands. Whoever issues asks
for its row inside the transaction of its intents, so a replica that slept through its lease notices.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, insert, select, text, update

from ca.store.tables import replicas

OCTETS = range(0x01, 0x80)
"""Of a serial: never zero, and the sign bit clear, so that each takes nineteen octets of DER."""

_HELD = (
    select(replicas.c.octet)
    .where(replicas.c.octet == bindparam("mine"), replicas.c.holder == bindparam("me"))
    .with_for_update(read=True)
)


def take(connection: Connection, holder: str, now: datetime, until: datetime) -> int | None:
    """The smallest octet that nobody leases now, leased to `holder`; None when all are taken."""
    if connection.dialect.name == "postgresql":
        # Of two that take at once the second sees what the first took; those who issue are not held up.
        connection.execute(text("LOCK TABLE replicas IN SHARE ROW EXCLUSIVE MODE"))
    taken = leased(connection, now)
    octet = next((one for one in OCTETS if one not in taken), None)
    if octet is not None:
        connection.execute(delete(replicas).where(replicas.c.octet == octet))
        connection.execute(insert(replicas).values(octet=octet, holder=holder, leased_until=until))
    return octet


def renew(connection: Connection, octet: int, holder: str, until: datetime) -> bool:
    """Whether it was still this holder's; then it is until `until`."""
    query = update(replicas).where(replicas.c.octet == octet, replicas.c.holder == holder)
    return connection.execute(query.values(leased_until=until)).rowcount == 1


def held(connection: Connection, octet: int, holder: str) -> bool:
    """Whether it is this holder's, and stays so to the end of the transaction."""
    return connection.execute(_HELD, {"mine": octet, "me": holder}).first() is not None


def leased(connection: Connection, now: datetime) -> set[int]:
    """The octets whose leases have not lapsed."""
    return set(connection.execute(select(replicas.c.octet).where(replicas.c.leased_until > now)).scalars())


def release(connection: Connection, holder: str) -> None:
    """At the end of a process: others need not wait for its lease to lapse."""
    connection.execute(delete(replicas).where(replicas.c.holder == holder))
