"""Revocation: which certificates, for what reason, in one transaction; a dry run stops before it.

The commit is the revocation. The CRL follows at once, and the status service reads the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from ca.authority.authority import Authority
from ca.identifiers import Serial
from ca.refusals import Reason, Refused
from ca.store import audit, certificates, revocations
from ca.store.audit import Entry
from ca.store.certificates import Filter, Standing
from ca.store.transaction import Connection

REASONS = {
    flag.value: flag
    for flag in (
        x509.ReasonFlags.unspecified,
        x509.ReasonFlags.key_compromise,
        x509.ReasonFlags.affiliation_changed,
        x509.ReasonFlags.superseded,
        x509.ReasonFlags.cessation_of_operation,
        x509.ReasonFlags.privilege_withdrawn,
    )
}
"""What an end entity can be revoked for (RFC 5280 5.3.1). CA and AA reasons, 7 and removeFromCRL are never."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """What was revoked, or would be."""

    certificates: list[Standing]
    dry_run: bool


def reason_of(name: str) -> x509.ReasonFlags:
    """The reason of this RFC 5280 name. Raises `Refused(REASON_REFUSED)` with the names there are."""
    if name not in REASONS:
        raise Refused(Reason.REASON_REFUSED, f"The reason must be one of: {', '.join(REASONS)}.")
    return REASONS[name]


def revoke_serial(authority: Authority, serial: Serial, reason: x509.ReasonFlags, actor: str) -> Standing:
    """Revokes one certificate; one that was revoked before keeps its date and reason.

    Raises `Refused`: NOT_FOUND for an unknown or a CA's serial, CONFLICT for an expired one.
    """

    def act(connection: Connection) -> Standing:
        now = authority.clock()
        record = certificates.standing(connection, serial)
        if record is None or not may_be_revoked(record):
            raise unknown()
        if record.state(now) == "expired":
            raise Refused(Reason.CONFLICT, "This certificate has expired: it is refused everywhere already.")
        _revoke(connection, [record], reason, actor, now)
        revoked = certificates.standing(connection, serial)
        assert revoked is not None  # noqa: S101 (it was read a moment ago, in this transaction)
        return revoked

    return authority.database.write(act).result()


def revoke_many(
    authority: Authority, wanted: Filter, reason: x509.ReasonFlags, actor: str, *, dry_run: bool
) -> Revoked:
    """Revokes every live certificate of a filter in one transaction, or only says which they are."""
    if dry_run:
        with authority.database.read() as connection:
            return Revoked(_revocable(connection, wanted, authority.clock()), dry_run=True)
    return Revoked(
        authority.database.write(
            lambda connection: revoke_within(connection, wanted, reason, actor, authority.clock())
        ).result(),
        dry_run=False,
    )


def revoke_within(
    connection: Connection, wanted: Filter, reason: x509.ReasonFlags, actor: str, now: datetime
) -> list[Standing]:
    """Revokes every live certificate of a filter inside the caller's transaction."""
    records = _revocable(connection, wanted, now)
    _revoke(connection, records, reason, actor, now)
    return records


def unknown() -> Refused:
    """The one answer to a serial that the caller may not know of, issued or not."""
    return Refused(Reason.NOT_FOUND, "There is no certificate with this serial.")


def may_be_revoked(record: Standing) -> bool:
    """The authority's own CAs and responder are not revoked by an operator's call."""
    return record.intent.kind in ("agent", "operator", "server")


def _revocable(connection: Connection, wanted: Filter, now: datetime) -> list[Standing]:
    return [record for record in certificates.revocable(connection, wanted, now) if may_be_revoked(record)]


def _revoke(
    connection: Connection, records: list[Standing], reason: x509.ReasonFlags, actor: str, now: datetime
) -> None:
    fresh = [record for record in records if record.revoked_at is None]
    revocations.add(connection, [record.intent for record in fresh], now, reason)
    for record in fresh:
        intent = record.intent
        audit.append(
            connection,
            Entry(
                at=now,
                actor=actor,
                action="certificate.revoke",
                decision="granted",
                tenant=intent.tenant,
                agent=intent.holder,
                task=intent.task,
                serial=str(intent.serial),
                detail={"reason": reason.value},
            ),
        )
