"""Which certificates a search or a revocation is for: conditions over `certificates` with `revocations` joined."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_, select, true, union

from ca.identifiers import Serial, TenantId, Thumbprint
from ca.pki.profile import Kind
from ca.store.tables import certificates, issuers, revocations

HOLD = "certificateHold"
"""The one reason that can be taken back (RFC 5280 5.3.1)."""

JOINED = and_(revocations.c.issuer == certificates.c.issuer, revocations.c.serial == certificates.c.serial)
"""A certificate and its revocation."""

REVOCABLE_KINDS = frozenset({Kind.AGENT, Kind.OPERATOR, Kind.SERVER})
"""What an operator's call may revoke: the authority's own CAs and responder need the ceremony."""

DELEGATED = certificates.c.parent.is_not(None)
"""Children of another certificate: few, and an index of their own knows them."""

END_ENTITIES = certificates.c.kind.in_(sorted(kind.value for kind in REVOCABLE_KINDS))


@dataclass(frozen=True, slots=True)
class Filter:
    """What is named narrows; None does not. `descendants_of` means whatever was delegated from it, however far."""

    tenant: TenantId | None = None
    kind: Kind | None = None
    holder: str | None = None
    task: str | None = None
    key: Thumbprint | None = None
    serial: Serial | None = None
    descendants_of: Serial | None = None
    state: str | None = None
    expires_before: datetime | None = None


def narrowed(wanted: Filter, now: datetime) -> ColumnElement[bool]:
    """Whatever the filter names, in whatever state unless it names one."""
    columns: dict[Any, Any] = {
        certificates.c.tenant: wanted.tenant,
        certificates.c.kind: wanted.kind and wanted.kind.value,
        certificates.c.holder: wanted.holder,
        certificates.c.task: wanted.task,
        certificates.c.key_sha256: wanted.key and wanted.key.digest,
    }
    conditions = [column == value for column, value in columns.items() if value is not None]
    if wanted.serial is not None:
        conditions.append(of_serial(wanted.serial))
    if wanted.expires_before is not None:
        conditions.append(certificates.c.not_after < wanted.expires_before)
    if wanted.descendants_of is not None:
        conditions.append(below(of_serial(wanted.descendants_of)))
    if wanted.state is not None:
        conditions.append(_states(now)[wanted.state])
    return and_(true(), *conditions)


def _states(now: datetime) -> dict[str, ColumnElement[bool]]:
    unrevoked = revocations.c.serial.is_(None)
    return {
        "live": and_(unrevoked, certificates.c.not_after >= now),
        "expired": and_(unrevoked, certificates.c.not_after < now),
        "held": revocations.c.reason == HOLD,
        "revoked": and_(revocations.c.serial.is_not(None), revocations.c.reason != HOLD),
    }


def revocable(now: datetime) -> ColumnElement[bool]:
    """What can be revoked for good: not expired, not revoked yet or only held, not a CA's own."""
    untouched = or_(revocations.c.serial.is_(None), revocations.c.reason == HOLD)
    return and_(certificates.c.not_after >= now, untouched, END_ENTITIES)


def with_sharing(wanted: ColumnElement[bool], keys: Collection[Thumbprint], now: datetime) -> ColumnElement[bool]:
    """What can be revoked of `wanted`, and for its keys or for these: a compromise is said of a key."""
    theirs = select(certificates.c.key_sha256).outerjoin(revocations, JOINED)
    theirs = theirs.where(wanted, revocable(now)).correlate(None)
    return and_(
        or_(wanted, certificates.c.key_sha256.in_(theirs), of_keys(keys)),
        revocable(now),
    )


def of_keys(keys: Collection[Thumbprint]) -> ColumnElement[bool]:
    """Whatever was certified for one of these keys."""
    return certificates.c.key_sha256.in_([key.digest for key in keys])


def of_serial(serial: Serial) -> ColumnElement[bool]:
    """The certificate with this serial, whichever issuer's: by the index that begins with the issuer."""
    return and_(certificates.c.issuer.in_(select(issuers.c.id)), certificates.c.serial == serial.octets)


def of_serials(serials: Collection[Serial]) -> ColumnElement[bool]:
    """As `of_serial`, of several."""
    octets = [serial.octets for serial in serials]
    return and_(certificates.c.issuer.in_(select(issuers.c.id)), certificates.c.serial.in_(octets))


def either(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """What one of these conditions names: each looked up by itself, since a disjunction would use no index."""
    named = [select(certificates.c.id).outerjoin(revocations, JOINED).where(one) for one in conditions]
    return certificates.c.id.in_(union(*named))


def below(*parents: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whatever was delegated from what one of these conditions names, however far."""
    named = union(*[select(certificates.c.serial).outerjoin(revocations, JOINED).where(one) for one in parents])
    children = select(certificates.c.id, certificates.c.serial).where(certificates.c.parent.in_(named))
    kin = children.cte(recursive=True)
    theirs: Select[Any] = select(certificates.c.id, certificates.c.serial).join(
        kin, certificates.c.parent == kin.c.serial
    )
    return certificates.c.id.in_(select(kin.union(theirs).c.id))
