"""Certificates: the intent before the signature, the result after it, and the ways to find one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, bindparam, func, or_, select, tuple_, update

from ca.identifiers import Serial, TenantId, Thumbprint
from ca.pki.profile import Kind
from ca.pki.signed import ToBeSigned, assemble
from ca.store import bulk, notes
from ca.store.filters import HOLD, JOINED, Filter, either, narrowed, of_serial
from ca.store.tables import certificates, revocations


class State(StrEnum):
    """How far an issuance got. Only an `ISSUED` certificate is ever called good."""

    INTENDED = "intended"
    SUSPECT = "suspect"
    ISSUED = "issued"


@dataclass(frozen=True, slots=True)
class Intent:
    """What the signer is about to be asked for: committed before it is asked.

    `parent` delegated to it; `line` is the first of those that were renewed from one another, None of the first.
    """

    issuer: str
    serial: Serial
    kind: Kind
    tenant: TenantId | None
    holder: str
    task: str | None
    key: Thumbprint
    not_before: datetime
    not_after: datetime
    crl_shard: int
    to_be_signed: ToBeSigned
    created_at: datetime
    parent: Serial | None = None
    line: Serial | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """An intent and the signature over it, verified."""

    intent: Intent
    signature: bytes
    x5t: Thumbprint


@dataclass(frozen=True, slots=True)
class Standing:
    """What became of a serial, whether its certificate was finished or is still an intent."""

    intent: Intent
    reached: State
    revoked_at: datetime | None
    reason: str | None

    def state(self, now: datetime) -> str:
        """`live`, `held`, `revoked` or `expired`; the last second counts as live."""
        if self.revoked_at is not None:
            return "held" if self.reason == HOLD else "revoked"
        return "expired" if self.has_expired(now) else "live"

    def has_expired(self, now: datetime) -> bool:
        """Whether its life is over, revoked or not."""
        return now.replace(microsecond=0) > self.intent.not_after


@dataclass(frozen=True, slots=True)
class CertificateRecord(Standing):
    """An issued certificate and what became of it."""

    id: int
    der: bytes
    x5t: Thumbprint


_LIVE_HOLDERS = (
    select(certificates.c.key_sha256, certificates.c.kind, certificates.c.tenant, certificates.c.holder)
    .outerjoin(revocations, JOINED)
    .where(certificates.c.key_sha256.in_(bindparam("keys", expanding=True)))
    .where(certificates.c.not_after >= bindparam("now"))
    # What is held may be released.
    .where(or_(revocations.c.serial.is_(None), revocations.c.reason == HOLD))
    .distinct()
)
# Of a million that were revoked at once nobody reads every row at each issuance.
_NEWEST = select(certificates).order_by(certificates.c.id.desc()).limit(1000).subquery()
_LAST_MADE = (
    select(_NEWEST.c.created_at)
    .outerjoin(revocations, and_(revocations.c.issuer == _NEWEST.c.issuer, revocations.c.serial == _NEWEST.c.serial))
    .where(revocations.c.serial.is_(None))
    .order_by(_NEWEST.c.id.desc())
    .limit(1)
)
_STORED = select(certificates.c.serial, certificates.c.x5t).where(
    tuple_(certificates.c.issuer, certificates.c.serial).in_(bindparam("names", expanding=True))
)


def intend(connection: Connection, intents: Sequence[Intent]) -> None:
    """Stores the intents. Raises `IntegrityError`, and stores none, for a serial that the issuer used before."""
    rows = [
        {
            "issuer": intent.issuer,
            "serial": intent.serial.octets,
            "state": State.INTENDED.value,
            "kind": intent.kind.value,
            "tenant": intent.tenant,
            "holder": intent.holder,
            "task": intent.task,
            "key_sha256": intent.key.digest,
            "not_before": intent.not_before,
            "not_after": intent.not_after,
            "crl_shard": intent.crl_shard,
            "parent": intent.parent and intent.parent.octets,
            "line": intent.line and intent.line.octets,
            "tbs": intent.to_be_signed.tbs,
            "algorithm": intent.to_be_signed.algorithm,
            "created_at": intent.created_at,
        }
        for intent in intents
    ]
    bulk.insert_all(connection, certificates, rows)
    notes.note(connection, "intend", rows)


def record(connection: Connection, results: Sequence[Result]) -> set[Serial]:
    """Completes intents with their verified signatures; the serials that were completed now.

    One that was completed before, by whoever else finished it, keeps what it has.
    """
    rows = [
        {
            "issuer": result.intent.issuer,
            "serial": result.intent.serial.octets,
            "state": State.ISSUED.value,
            "signature": result.signature,
            "x5t": result.x5t.digest,
        }
        for result in results
    ]
    completed = bulk.update_all(connection, certificates, ("issuer", "serial"), rows, "certificates.x5t IS NULL")
    notes.note(connection, "record", rows)
    if completed == len(results):
        return {result.intent.serial for result in results}
    stored = connection.execute(_STORED, {"names": [(row["issuer"], row["serial"]) for row in rows]})
    theirs = {row.serial: row.x5t for row in stored}
    return {result.intent.serial for result in results if theirs[result.intent.serial.octets] == result.x5t.digest}


def suspect(connection: Connection, intents: Sequence[Intent]) -> list[Intent]:
    """Marks intents that must not leave as they are; those that were not marked before."""

    def mark(intent: Intent) -> bool:
        query = update(certificates).where(certificates.c.state == State.INTENDED.value)
        query = query.where(certificates.c.issuer == intent.issuer, certificates.c.serial == intent.serial.octets)
        return connection.execute(query.values(state=State.SUSPECT.value)).rowcount == 1

    return [intent for intent in intents if mark(intent)]


def live_holders(
    connection: Connection, keys: Collection[Thumbprint], now: datetime
) -> dict[Thumbprint, list[tuple[Kind, str | None, str]]]:
    """Who holds an unexpired certificate, or the intent of one, that is not revoked for good: kind, tenant and name."""
    found: dict[Thumbprint, list[tuple[Kind, str | None, str]]] = {}
    for row in connection.execute(_LIVE_HOLDERS, {"keys": [key.digest for key in keys], "now": now}):
        found.setdefault(Thumbprint(row.key_sha256), []).append((Kind(row.kind), row.tenant, row.holder))
    return found


def unfinished(connection: Connection) -> list[Intent]:
    """Intents without a result: a crash or a signer's fault lies between."""
    query = select(certificates).where(certificates.c.x5t.is_(None)).order_by(certificates.c.id)
    return [_intent(row) for row in connection.execute(query)]


def standing(connection: Connection, serial: Serial) -> Standing | None:
    """What became of this serial, finished or not, or None for one that was never assigned."""
    row = connection.execute(_assigned().where(of_serial(serial))).first()
    return None if row is None else _standing(row)


def by_serial(connection: Connection, serial: Serial) -> CertificateRecord | None:
    """The certificate with this serial, or None."""
    row = connection.execute(_issued().where(of_serial(serial))).first()
    return None if row is None else _record(row)


def by_thumbprint(connection: Connection, x5t: Thumbprint) -> CertificateRecord | None:
    """The certificate with this SHA-256 of its DER, or None."""
    row = connection.execute(_issued().where(certificates.c.x5t == x5t.digest)).first()
    return None if row is None else _record(row)


def by_thumbprints(connection: Connection, names: Collection[Thumbprint]) -> dict[Thumbprint, CertificateRecord]:
    """The certificates with these SHA-256 of their DER that there are."""
    if not names:
        return {}
    rows = connection.execute(_issued().where(certificates.c.x5t.in_([name.digest for name in names])))
    return {record.x5t: record for record in map(_record, rows)}


def newest_of_line(connection: Connection, serial: Serial, now: datetime) -> CertificateRecord | None:
    """The live certificate that was renewed last from this one's line, be it this one itself, or None."""
    line = connection.execute(select(certificates.c.line).where(of_serial(serial))).scalar() or serial.octets
    renewed = and_(certificates.c.line == line, certificates.c.not_after >= now)
    of_line = either(renewed, of_serial(Serial.from_octets(line)))
    query = _issued().where(of_line, certificates.c.not_after >= now, revocations.c.serial.is_(None))
    row = connection.execute(query.order_by(certificates.c.id.desc()).limit(1)).first()
    return None if row is None else _record(row)


def newest(connection: Connection, kind: Kind, issuer: str, now: datetime) -> CertificateRecord | None:
    """The certificate of this kind that is valid now and lives longest, or None."""
    row = connection.execute(_in_force(kind, issuer, now).limit(1)).first()
    return None if row is None else _record(row)


def in_force(connection: Connection, kind: Kind, issuer: str, now: datetime) -> list[CertificateRecord]:
    """The certificates of this kind that are valid now, the one that lives longest first."""
    return [_record(row) for row in connection.execute(_in_force(kind, issuer, now))]


def _in_force(kind: Kind, issuer: str, now: datetime) -> Select[Any]:
    return (
        _issued()
        .where(certificates.c.kind == kind.value, certificates.c.issuer == issuer)
        .where(certificates.c.not_before <= now, certificates.c.not_after > now, revocations.c.serial.is_(None))
        .order_by(certificates.c.not_after.desc(), certificates.c.id.desc())
    )


def latest(connection: Connection, kind: Kind, issuer: str) -> CertificateRecord | None:
    """The last certificate of this kind that was issued, whether it is still valid or not, or None."""
    query = _issued().where(certificates.c.kind == kind.value, certificates.c.issuer == issuer)
    row = connection.execute(query.order_by(certificates.c.id.desc()).limit(1)).first()
    return None if row is None else _record(row)


def last_made(connection: Connection) -> datetime | None:
    """When the last serial was assigned that is not revoked, or None before the first."""
    made: datetime | None = connection.execute(_LAST_MADE).scalar()
    return made


def page(
    connection: Connection, wanted: Filter, now: datetime, *, before: int | None = None, limit: int
) -> list[CertificateRecord]:
    """Newest first, from the one before the cursor (a row's id)."""
    query = _issued().where(narrowed(wanted, now)).order_by(certificates.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(certificates.c.id < before)
    return [_record(row) for row in connection.execute(query)]


def some(connection: Connection, condition: ColumnElement[bool], limit: int) -> list[Standing]:
    """What a condition of `ca.store.filters` names, oldest first, at most so many; intents too."""
    query = _assigned().where(condition).order_by(certificates.c.id).limit(limit)
    return [_standing(row) for row in connection.execute(query)]


def is_any(connection: Connection, condition: ColumnElement[bool]) -> bool:
    """Whether a condition of `ca.store.filters` names one. In no order: an order would lead past every index."""
    query = select(certificates.c.id).outerjoin(revocations, JOINED).where(condition).limit(1)
    return connection.execute(query).first() is not None


def count(connection: Connection, condition: ColumnElement[bool]) -> int:
    """How many a condition of `ca.store.filters` names."""
    query = select(func.count()).select_from(certificates).outerjoin(revocations, JOINED)
    return connection.execute(query.where(condition)).scalar_one()


def _issued() -> Select[Any]:
    return _assigned().where(certificates.c.state == State.ISSUED.value)


def _assigned() -> Select[Any]:
    joined = select(certificates, revocations.c.revoked_at, revocations.c.reason)
    return joined.outerjoin(revocations, JOINED)


def _intent(row: Row[Any]) -> Intent:
    return Intent(
        issuer=row.issuer,
        serial=Serial.from_octets(row.serial),
        kind=Kind(row.kind),
        tenant=None if row.tenant is None else TenantId(row.tenant),
        holder=row.holder,
        task=row.task,
        key=Thumbprint(row.key_sha256),
        not_before=row.not_before,
        not_after=row.not_after,
        crl_shard=row.crl_shard,
        to_be_signed=ToBeSigned(row.tbs, row.algorithm),
        created_at=row.created_at,
        parent=None if row.parent is None else Serial.from_octets(row.parent),
        line=None if row.line is None else Serial.from_octets(row.line),
    )


def _standing(row: Row[Any]) -> Standing:
    return Standing(_intent(row), State(row.state), row.revoked_at, row.reason)


def _record(row: Row[Any]) -> CertificateRecord:
    intent = _intent(row)
    return CertificateRecord(
        id=row.id,
        intent=intent,
        reached=State(row.state),
        der=assemble(intent.to_be_signed, row.signature),
        x5t=Thumbprint(row.x5t),
        revoked_at=row.revoked_at,
        reason=row.reason,
    )
