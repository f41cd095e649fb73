"""The authority's own CAs, their CRL numbers, and the CRLs they published."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ca.pki.profile import Kind
from ca.store.tables import crls, issuers

FULL = 0
"""The shard number of the full list."""


@dataclass(frozen=True, slots=True)
class IssuerRecord:
    """A CA of ours: its stable id (in URLs), the label of its key, and its certificate in DER."""

    id: str
    kind: Kind
    key_label: str
    certificate: bytes
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PublishedCrl:
    """A CRL as it is served. Shard 0 is the full list."""

    issuer: str
    shard: int
    number: int
    this_update: datetime
    next_update: datetime
    der: bytes


def add(connection: Connection, record: IssuerRecord) -> None:
    """Raises `IntegrityError` when the id is taken."""
    connection.execute(
        insert(issuers).values(
            id=record.id,
            kind=record.kind.value,
            key_label=record.key_label,
            certificate=record.certificate,
            crl_number=0,
            created_at=record.created_at,
        )
    )


def everyone(connection: Connection) -> list[IssuerRecord]:
    """All CAs, the root first."""
    rows = connection.execute(select(issuers).order_by(issuers.c.created_at, issuers.c.id.desc()))
    return [IssuerRecord(row.id, Kind(row.kind), row.key_label, row.certificate, row.created_at) for row in rows]


def take_crl_number(connection: Connection, issuer: str) -> int:
    """The next CRL number, strictly greater than every one taken before, on whichever replica (RFC 5280 5.2.3)."""
    query = (
        update(issuers)
        .where(issuers.c.id == issuer)
        .values(crl_number=issuers.c.crl_number + 1)
        .returning(issuers.c.crl_number)
    )
    return int(connection.execute(query).scalar_one())


def publish(connection: Connection, crl: PublishedCrl) -> bool:
    """Puts a CRL in place of an older one of its shard; False when a newer one is there already."""
    values: dict[str, Any] = {
        "number": crl.number,
        "this_update": crl.this_update,
        "next_update": crl.next_update,
        "der": crl.der,
    }
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    query = dialect.insert(crls).values(issuer=crl.issuer, shard=crl.shard, **values)
    query = query.on_conflict_do_update(
        index_elements=[crls.c.issuer, crls.c.shard],
        set_=values,
        where=(crls.c.number < crl.number) & (crls.c.this_update <= crl.this_update),
    )
    # Without the option PostgreSQL's count is not kept for an INSERT.
    return connection.execute(query.execution_options(preserve_rowcount=True)).rowcount == 1


def crl(connection: Connection, issuer: str, shard: int) -> PublishedCrl | None:
    """The CRL in force, or None before the first."""
    row = connection.execute(select(crls).where(crls.c.issuer == issuer, crls.c.shard == shard)).one_or_none()
    return None if row is None else _crl(row)


def published(connection: Connection) -> list[PublishedCrl]:
    """Every CRL in force."""
    return [_crl(row) for row in connection.execute(select(crls).order_by(crls.c.issuer, crls.c.shard))]


def _crl(row: Any) -> PublishedCrl:
    return PublishedCrl(row.issuer, row.shard, row.number, row.this_update, row.next_update, row.der)
