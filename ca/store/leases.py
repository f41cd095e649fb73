"""Leases: who does what only one may do. A fence counts the holders, so what an earlier one still tries is refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, case, or_, select, true, update
from sqlalchemy.dialects import postgresql, sqlite

from ca.store.tables import leases

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Lease:
    """What a holder has, and its number among all holders."""

    name: str
    holder: str
    fence: int


@dataclass(frozen=True, slots=True)
class Held:
    """A lease and its end."""

    lease: Lease
    until: datetime


def take(connection: Connection, name: str, holder: str, now: datetime, until: datetime) -> Lease | None:
    """The lease, where it is this holder's, has lapsed, or nobody had it; None where another has it.

    One that ends later than this one would was made under a clock that was ahead: it holds nothing up.
    """
    lapsed = or_(leases.c.leased_until <= now, leases.c.leased_until > until)
    return _take(connection, name, holder, until, or_(leases.c.holder == holder, lapsed))


def find(connection: Connection, name: str) -> Held | None:
    """Who has it and until when, or None where nobody ever had it."""
    row = connection.execute(select(leases).where(leases.c.name == name)).one_or_none()
    return None if row is None else Held(Lease(row.name, row.holder, row.fence), row.leased_until)


def seize(connection: Connection, name: str, holder: str, until: datetime) -> Lease:
    """The lease, whoever had it."""
    lease = _take(connection, name, holder, until, true())
    assert lease is not None  # noqa: S101 (nothing stands in the way)
    return lease


def holds(connection: Connection, lease: Lease) -> bool:
    """Whether nobody took it since, nor can before this transaction ends."""
    query = select(leases.c.fence).where(leases.c.name == lease.name, leases.c.fence == lease.fence)
    return connection.execute(query.with_for_update(read=True)).first() is not None


def give_back(connection: Connection, name: str, holder: str) -> None:
    """At the end of a process: others need not wait for it to lapse. The row stays, or its fence would begin anew."""
    query = update(leases).where(leases.c.name == name, leases.c.holder == holder)
    connection.execute(query.values(leased_until=_LONG_AGO))


def _take(connection: Connection, name: str, holder: str, until: datetime, free: ColumnElement[bool]) -> Lease | None:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    query = dialect.insert(leases).values(name=name, holder=holder, fence=1, leased_until=until)
    fence = case((leases.c.holder == holder, leases.c.fence), else_=leases.c.fence + 1)
    query = query.on_conflict_do_update(
        index_elements=[leases.c.name], set_={"holder": holder, "fence": fence, "leased_until": until}, where=free
    )
    taken = connection.execute(query.returning(leases.c.fence)).scalar_one_or_none()
    return None if taken is None else Lease(name, holder, taken)
