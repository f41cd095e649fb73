"""Revocations and holds: what is refused now, and what was released.

One act revokes by one statement, however many certificates it is for. It raises its issuer's revision
and its rows carry that number, so what an act did is found by it, and whoever makes lists or answers
knows from one number whether anything changed. The revision is locked to the end of the transaction:
who reads a revision reads everything up to it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from struct import Struct
from typing import Any

from cryptography import x509
from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    and_,
    cast,
    delete,
    func,
    insert,
    literal,
    select,
    text,
    update,
)

from ca.identifiers import Serial, Thumbprint
from ca.pki import crl
from ca.store import filters, notes, stillness
from ca.store.filters import HOLD, JOINED
from ca.store.stillness import Stillness
from ca.store.tables import certificates, releases, revisions, revocations

CHANNEL = "remit_revision"
"""Of PostgreSQL's NOTIFY: that something which the status service says has changed. The commit sends it."""

_PACKED = 5000
"""Rows in one note of the journal."""

PACKED_ROW = Struct(">19sHQ")
"""What a note says of each: the serial, the shard, and the certificate's end in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Act:
    """One revocation, hold or release: of whose certificates, when, why, and the revision that its rows carry."""

    issuer: str
    revision: int
    at: datetime
    reason: x509.ReasonFlags


def begin(connection: Connection, issuer: str, at: datetime, reason: x509.ReasonFlags) -> Act:
    """An act with a new revision; others who revoke, and who renew, wait for this transaction's end."""
    stillness.take(connection, [Stillness.EVERYTHING])
    if connection.dialect.name == "postgresql":
        # Before the revision, as who blocks keys has it: an enrolment of this transaction needs it later.
        connection.execute(text("LOCK TABLE blocked_keys IN ACCESS SHARE MODE"))
    query = update(revisions).where(revisions.c.issuer == issuer).values(revision=revisions.c.revision + 1)
    revision = connection.execute(query.returning(revisions.c.revision)).scalar_one()
    notify(connection)
    return Act(issuer, revision, at, reason)


def notify(connection: Connection) -> None:
    """Wakes, at the commit, whoever waits for changes; SQLite's readers see the commit itself."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"NOTIFY {CHANNEL}"))


def revision(connection: Connection, issuer: str) -> int:
    """The revision of what this issuer revoked."""
    return int(connection.execute(select(revisions.c.revision).where(revisions.c.issuer == issuer)).scalar_one())


def revoke(connection: Connection, act: Act, wanted: ColumnElement[bool]) -> None:
    """Revokes whatever of `wanted`, a condition of `ca.store.filters`, can be, for good unless this is a hold.

    What is held is revoked from now; what was revoked keeps its first date and reason.
    """
    _revoke(connection, act, wanted)
    _note(connection, act)


def revoke_compromised(
    connection: Connection, act: Act, wanted: ColumnElement[bool], keys: Collection[Thumbprint]
) -> None:
    """Revokes as `revoke` does, and whatever else is live for these keys and for the keys of what was revoked."""
    _revoke(connection, act, wanted)
    _revoke(connection, act, filters.of_keys(keys))
    sharing = select(certificates.c.key_sha256).join(revocations, JOINED).where(done_by(act)).correlate(None)
    _revoke(connection, act, certificates.c.key_sha256.in_(sharing))
    _note(connection, act)


def revoke_authority(connection: Connection, act: Act, serial: Serial) -> None:
    """Revokes a CA's own certificate: the act is its issuer's, and no filter ever names it."""
    _insert(connection, act, and_(certificates.c.issuer == act.issuer, certificates.c.serial == serial.octets))
    _note(connection, act)


def done_by(act: Act, *others: Act) -> ColumnElement[bool]:
    """The condition over `revocations`: what this act revoked, and others of the same issuer."""
    revisions_ = [one.revision for one in (act, *others)]
    return and_(revocations.c.issuer == act.issuer, revocations.c.revision.in_(revisions_))


def count(connection: Connection, done: ColumnElement[bool]) -> int:
    """How many certificates an act, or several, revoked: a condition of `done_by`."""
    return connection.execute(select(func.count()).select_from(revocations).where(done)).scalar_one()


def release(connection: Connection, act: Act, serial: Serial) -> bool:
    """Takes a hold away; False where there is none."""
    named = and_(
        revocations.c.issuer == act.issuer, revocations.c.serial == serial.octets, revocations.c.reason == HOLD
    )
    held = connection.execute(select(revocations).where(named)).one_or_none()
    if held is None:
        return False
    row = {
        "issuer": act.issuer,
        "serial": serial.octets,
        "revoked_at": held.revoked_at,
        "released_at": act.at,
        "crl_shard": held.crl_shard,
        "expires_at": held.expires_at,
        "revision": act.revision,
        "entry": crl.entry(serial, act.at, x509.ReasonFlags.remove_from_crl),
    }
    connection.execute(insert(releases), row)
    connection.execute(delete(revocations).where(named))
    note = {key: row[key] for key in ("issuer", "serial", "revoked_at", "released_at")}
    notes.note(connection, "release", [note])
    return True


def was_held_at(connection: Connection, issuer: str, serial: Serial, at: datetime) -> bool:
    """Whether a hold of this certificate began in this second and was released: nobody could tell another one apart."""
    query = select(releases.c.serial).where(releases.c.issuer == issuer, releases.c.serial == serial.octets)
    return connection.execute(query.where(releases.c.revoked_at == at)).first() is not None


def _revoke(connection: Connection, act: Act, wanted: ColumnElement[bool]) -> None:
    unexpired = and_(certificates.c.issuer == act.issuer, certificates.c.not_after >= act.at)
    targets = and_(unexpired, filters.END_ENTITIES, wanted)
    if act.reason is not x509.ReasonFlags.certificate_hold:
        _end_holds(connection, act, targets)
    _insert(connection, act, targets)


def _end_holds(connection: Connection, act: Act, targets: ColumnElement[bool]) -> None:
    held = and_(revocations.c.issuer == act.issuer, revocations.c.reason == HOLD)
    serials = select(certificates.c.serial).join(revocations, JOINED).where(targets, held)
    changed: dict[str, Any] = {
        "revoked_at": act.at,
        "reason": act.reason.value,
        "revision": act.revision,
        "entry": _entry(act, revocations.c.serial),
    }
    connection.execute(update(revocations).where(held, revocations.c.serial.in_(serials)).values(changed))


def _insert(connection: Connection, act: Act, targets: ColumnElement[bool]) -> None:
    """One statement for all: the entries differ in their serial alone."""
    rows = (
        select(
            certificates.c.issuer,
            certificates.c.serial,
            certificates.c.crl_shard,
            literal(act.at, revocations.c.revoked_at.type),
            literal(act.reason.value),
            certificates.c.not_after,
            literal(act.revision),
            _entry(act, certificates.c.serial),
        )
        .outerjoin(revocations, JOINED)
        .where(targets, revocations.c.serial.is_(None))
    )
    columns = ["issuer", "serial", "crl_shard", "revoked_at", "reason", "expires_at", "revision", "entry"]
    connection.execute(insert(revocations).from_select(columns, rows))


def _entry(act: Act, serial: ColumnElement[bytes]) -> ColumnElement[bytes]:
    before, after = crl.frame(act.at, act.reason)
    return cast(literal(before, LargeBinary).concat(serial).concat(literal(after, LargeBinary)), LargeBinary)


def _note(connection: Connection, act: Act) -> None:
    """For the journal, which only PostgreSQL needs: the rows of the act, packed, with all that makes them again."""
    if connection.dialect.name != "postgresql":
        return
    query = select(revocations.c.serial, revocations.c.crl_shard, revocations.c.expires_at).where(done_by(act))
    found = [
        PACKED_ROW.pack(row.serial, row.crl_shard, int(row.expires_at.timestamp())) for row in connection.execute(query)
    ]
    rows = [
        {
            "issuer": act.issuer,
            "revoked_at": act.at,
            "reason": act.reason.value,
            "rows": b"".join(found[start : start + _PACKED]),
        }
        for start in range(0, len(found), _PACKED)
    ]
    notes.note(connection, "revoke", rows)
