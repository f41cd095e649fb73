"""Revocations of many that one operator asked for and another must confirm."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from sqlalchemy import Connection, insert, select, update

from ca.identifiers import Serial, TenantId, Thumbprint
from ca.pki.profile import Kind
from ca.store.filters import Filter
from ca.store.tables import proposals


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is to be revoked and why, how many that was when it was asked for, by whom, and until when it stands."""

    id: str
    wanted: Filter
    reason: x509.ReasonFlags
    count: int
    proposed_by: str
    proposed_at: datetime
    expires_at: datetime
    confirmed_by: str | None = None


def add(connection: Connection, one: Proposal) -> None:
    """Stores a new one."""
    values = {
        "id": one.id,
        "wanted": _stored(one.wanted),
        "reason": one.reason.value,
        "count": one.count,
        "proposed_by": one.proposed_by,
        "proposed_at": one.proposed_at,
        "expires_at": one.expires_at,
    }
    connection.execute(insert(proposals).values(values))


def find(connection: Connection, name: str) -> Proposal | None:
    """The one of this name, or None."""
    row = connection.execute(select(proposals).where(proposals.c.id == name)).one_or_none()
    return None if row is None else _proposal(row)


def waiting(connection: Connection, now: datetime) -> list[Proposal]:
    """Those that nobody has confirmed and that have not lapsed, oldest first."""
    query = select(proposals).where(proposals.c.confirmed_by.is_(None), proposals.c.expires_at > now)
    return [_proposal(row) for row in connection.execute(query.order_by(proposals.c.proposed_at, proposals.c.id))]


def confirm(connection: Connection, name: str, by: str, at: datetime) -> bool:
    """Compare-and-set: False when somebody had confirmed it already."""
    query = update(proposals).where(proposals.c.id == name, proposals.c.confirmed_by.is_(None))
    return connection.execute(query.values(confirmed_by=by, confirmed_at=at)).rowcount == 1


def _proposal(row: Any) -> Proposal:
    return Proposal(
        id=row.id,
        wanted=_filter(row.wanted),
        reason=x509.ReasonFlags(row.reason),
        count=row.count,
        proposed_by=row.proposed_by,
        proposed_at=row.proposed_at,
        expires_at=row.expires_at,
        confirmed_by=row.confirmed_by,
    )


def _stored(wanted: Filter) -> dict[str, str | None]:
    """The parts that a revocation of many may name; none has a state or an end."""
    return {
        "tenant": wanted.tenant,
        "kind": wanted.kind and wanted.kind.value,
        "holder": wanted.holder,
        "task": wanted.task,
        "key": wanted.key.hex if wanted.key else None,
        "descendants_of": str(wanted.descendants_of) if wanted.descendants_of else None,
        "serial": str(wanted.serial) if wanted.serial else None,
    }


def _filter(stored: dict[str, str | None]) -> Filter:
    tenant, kind, key, ancestor = (stored[name] for name in ("tenant", "kind", "key", "descendants_of"))
    serial = stored.get("serial")  # which the version before did not store
    return Filter(
        tenant=TenantId(tenant) if tenant else None,
        kind=Kind(kind) if kind else None,
        holder=stored["holder"],
        task=stored["task"],
        key=Thumbprint.parse(key) if key else None,
        descendants_of=Serial.parse(ancestor) if ancestor else None,
        serial=Serial.parse(serial) if serial else None,
    )
