"""CRLs: what they must list, their numbers, and those that are in force."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Row,
    Select,
    cast,
    delete,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from ca.store import revocations as acts
from ca.store.tables import crls, issuers, releases, revocations

FULL = 0
"""The number of the full list among its issuer's."""

DELTA = -1
"""That of the delta on an earlier full list (RFC 5280 5.2.4)."""

_AT_ONCE = 5000


@dataclass(frozen=True, slots=True)
class Base:
    """The full list that a delta stands on: its number, when it was made, and up to which revision."""

    number: int
    this_update: datetime
    revision: int


@dataclass(frozen=True, slots=True)
class Heading:
    """What is known of a list without reading it: 0 is the full one, -1 its delta, the others are shards.

    It is complete up to `revision`, and has so many `entries`.
    """

    issuer: str
    shard: int
    number: int
    this_update: datetime
    next_update: datetime
    revision: int
    entries: int
    base: Base | None = None


@dataclass(frozen=True, slots=True)
class PublishedCrl(Heading):
    """A CRL as it is served."""

    der: bytes = b""  # a default, because a field before it has one


@dataclass(frozen=True, slots=True)
class Entries:
    """Entries of one length in DER, one after another; and the serials of their rows, likewise."""

    der: bytes
    serials: bytes


def entries(connection: Connection, issuer: str, shard: int, expired_before: datetime) -> list[Entries]:
    """What a full list or a shard must list, the entries of each length together.

    A certificate that expired before `expired_before` has left (RFC 5280 3.3).
    """
    length = func.length(revocations.c.entry)
    columns = [_joined(connection, column) for column in (revocations.c.entry, revocations.c.serial)]
    joined: Any = select(*columns).group_by(length).order_by(length)
    query = _listed(joined, issuer, expired_before)
    if shard != FULL:
        query = query.where(revocations.c.crl_shard == shard)
    return [Entries(bytes(der), bytes(serials)) for der, serials in connection.execute(query)]


def counts(connection: Connection, issuer: str, expired_before: datetime) -> dict[int, int]:
    """How many that must be in each shard, asked in another way: an index knows, and no row is read."""
    query: Any = select(revocations.c.crl_shard, func.count().label("listed")).group_by(revocations.c.crl_shard)
    rows = connection.execute(_listed(query, issuer, expired_before))
    return {row.crl_shard: row.listed for row in rows}


def changes(
    connection: Connection, issuer: str, since: int, expired_before: datetime, limit: int
) -> list[bytes] | None:
    """The entries of a delta: what was revoked, held or released after a revision; None for more than `limit`."""
    found: list[Row[Any]] = []
    # What was released and then held or revoked anew says the latter; of several releases the last one counts.
    for table in (releases, revocations):
        query = select(table.c.serial, table.c.entry).order_by(table.c.revision).limit(limit + 1)
        query = query.where(table.c.issuer == issuer, table.c.revision > since, table.c.expires_at >= expired_before)
        found += connection.execute(query)
    if len(found) > limit:
        return None
    return list({bytes(row.serial): bytes(row.entry) for row in found}.values())


def changed_shards(connection: Connection, issuer: str, since: int) -> set[int]:
    """The shards in which something changed after a revision."""
    return {
        shard
        for table in (revocations, releases)
        for shard in connection.execute(
            select(table.c.crl_shard).distinct().where(table.c.issuer == issuer, table.c.revision > since)
        ).scalars()
    }


def without_reason(
    connection: Connection, issuer: str, vanished: Collection[bytes], since: int, expired_before: datetime
) -> list[bytes]:
    """Which of these serials, listed up to a revision, had no right to leave: neither expired nor released after it."""
    serials, left = list(vanished), set[bytes]()
    for start in range(0, len(serials), _AT_ONCE):
        part = serials[start : start + _AT_ONCE]
        expired = select(revocations.c.serial).where(
            revocations.c.issuer == issuer,
            revocations.c.serial.in_(part),
            revocations.c.expires_at < expired_before,
        )
        released = select(releases.c.serial).where(
            releases.c.issuer == issuer, releases.c.serial.in_(part), releases.c.revision > since
        )
        left |= {bytes(row.serial) for query in (expired, released) for row in connection.execute(query)}
    return [serial for serial in serials if serial not in left]


def take_number(connection: Connection, issuer: str, at_least: int) -> int:
    """The next CRL number: greater than every one taken before, on whichever replica (RFC 5280 5.2.3)."""
    raised = func.max if connection.dialect.name == "sqlite" else func.greatest
    query = update(issuers).where(issuers.c.id == issuer).values(crl_number=raised(issuers.c.crl_number + 1, at_least))
    return int(connection.execute(query.returning(issuers.c.crl_number)).scalar_one())


def put(connection: Connection, crl: PublishedCrl) -> bool:
    """Puts a CRL in place of an older one; False when a newer one is there already."""
    base = crl.base
    values: dict[str, Any] = {
        "number": crl.number,
        "this_update": crl.this_update,
        "next_update": crl.next_update,
        "revision": crl.revision,
        "entries": crl.entries,
        "base_number": base and base.number,
        "base_update": base and base.this_update,
        "base_revision": base and base.revision,
        "der": crl.der,
    }
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    query = dialect.insert(crls).values(issuer=crl.issuer, shard=crl.shard, **values)
    query = query.on_conflict_do_update(
        index_elements=[crls.c.issuer, crls.c.shard],
        # Named again, not sent again: it may have fifty million octets.
        set_={name: query.excluded[name] for name in values},
        where=(crls.c.number < crl.number) & (crls.c.this_update <= crl.this_update),
    )
    acts.notify(connection)
    # Without the option PostgreSQL's count is not kept for an INSERT.
    return connection.execute(query.execution_options(preserve_rowcount=True)).rowcount == 1


def withdraw(connection: Connection, issuer: str, shard: int) -> None:
    """There is no such list any more."""
    connection.execute(delete(crls).where(crls.c.issuer == issuer, crls.c.shard == shard))


def find(connection: Connection, issuer: str, shard: int) -> PublishedCrl | None:
    """The CRL in force, or None before the first."""
    row = connection.execute(select(crls).where(crls.c.issuer == issuer, crls.c.shard == shard)).one_or_none()
    return None if row is None else PublishedCrl(**_heading(row), der=bytes(row.der))


def heading(connection: Connection, issuer: str, shard: int) -> Heading | None:
    """What is known of the CRL in force, or None before the first."""
    return next((one for one in headings(connection, issuer) if one.shard == shard), None)


def headings(connection: Connection, issuer: str | None = None) -> list[Heading]:
    """Every CRL in force, or those of one issuer, without their bytes."""
    columns = [column for column in crls.c if column is not crls.c.der]
    query = select(*columns).order_by(crls.c.issuer, crls.c.shard)
    if issuer is not None:
        query = query.where(crls.c.issuer == issuer)
    return [Heading(**_heading(row)) for row in connection.execute(query)]


def _heading(row: Row[Any]) -> dict[str, Any]:
    base = None if row.base_number is None else Base(row.base_number, row.base_update, row.base_revision)
    return {
        "issuer": row.issuer,
        "shard": row.shard,
        "number": row.number,
        "this_update": row.this_update,
        "next_update": row.next_update,
        "revision": row.revision,
        "entries": row.entries,
        "base": base,
    }


def _listed(query: Select[Any], issuer: str, expired_before: datetime) -> Select[Any]:
    return query.where(revocations.c.issuer == issuer, revocations.c.expires_at >= expired_before)


def _joined(connection: Connection, column: ColumnElement[bytes]) -> ColumnElement[bytes]:
    """All octets of a column, one after another."""
    if connection.dialect.name == "postgresql":
        return func.string_agg(column, literal(b"", LargeBinary))
    # SQLite joins octets as they are, and calls them text.
    return cast(func.group_concat(column, literal("")), LargeBinary)
