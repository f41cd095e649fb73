"""The authority's own CAs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from ca.pki.profile import Kind
from ca.store.tables import issuers, revisions


@dataclass(frozen=True, slots=True)
class IssuerRecord:
    """A CA of ours: its stable id (in URLs), the label of its key, and its certificate in DER."""

    id: str
    kind: Kind
    key_label: str
    certificate: bytes
    created_at: datetime


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
    connection.execute(insert(revisions).values(issuer=record.id, revision=1))


def everyone(connection: Connection) -> list[IssuerRecord]:
    """All CAs, the root first."""
    rows = connection.execute(select(issuers).order_by(issuers.c.created_at, issuers.c.id.desc()))
    return [IssuerRecord(row.id, Kind(row.kind), row.key_label, row.certificate, row.created_at) for row in rows]
