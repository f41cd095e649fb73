"""Revocation: which certificates, for what reason, in one transaction; a dry run stops before it.

The commit is the revocation. The CRL follows at once, and the status service reads the same rows.

`keyCompromise` is said of a key, however the certificates were named: their keys are blocked in the
same transaction, and whatever else is live for one of these keys is revoked with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from ca.authority.authority import Authority
from ca.identifiers import Serial, Thumbprint
from ca.refusals import Reason, Refused
from ca.store import audit, blocked_keys, certificates, revocations
from ca.store.audit import Entry
from ca.store.blocked_keys import BlockedKey
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
    """What was revoked and which keys were blocked now, or would be."""

    certificates: list[Standing]
    blocked_keys: list[Thumbprint]
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Order:
    """Why, by whom and when: what every row and entry of one revocation says."""

    reason: x509.ReasonFlags
    actor: str
    now: datetime

    @property
    def blocks(self) -> bool:
        """Whether the keys are never to be certified again."""
        return self.reason is x509.ReasonFlags.key_compromise


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
        order = Order(reason, actor, authority.clock())
        _prepare(connection, order)
        record = certificates.standing(connection, serial)
        if record is None or not may_be_revoked(record):
            raise unknown()
        if record.state(order.now) == "expired":
            raise Refused(
                Reason.CONFLICT,
                "This certificate has expired and is refused everywhere; a compromised key is revoked by the key.",
            )
        _carry_out(connection, [record], [record.intent.key], order)
        revoked = certificates.standing(connection, serial)
        assert revoked is not None  # noqa: S101 (it was read a moment ago, in this transaction)
        return revoked

    return authority.database.write(act).result()


def revoke_many(
    authority: Authority, wanted: Filter, reason: x509.ReasonFlags, actor: str, *, dry_run: bool
) -> Revoked:
    """Revokes every live certificate of a filter in one transaction, or only says which they are.

    A filter by key with the reason keyCompromise blocks the key, whether it was ever certified or not.
    Raises `Refused(CONFLICT)` for the key of a CA or responder of this authority.
    """
    if dry_run:
        with authority.database.read() as connection:
            _check_not_own(connection, wanted)
            return _planned(connection, wanted, Order(reason, actor, authority.clock()))

    def act(connection: Connection) -> Revoked:
        _check_not_own(connection, wanted)
        return revoke_within(connection, wanted, Order(reason, actor, authority.clock()))

    return authority.database.write(act).result()


def revoke_within(connection: Connection, wanted: Filter, order: Order) -> Revoked:
    """Revokes every live certificate of a filter inside the caller's transaction."""
    _prepare(connection, order)
    records = _revocable(connection, wanted, order.now)
    return _carry_out(connection, records, _keys(wanted, records), order)


def unknown() -> Refused:
    """The one answer to a serial that the caller may not know of, issued or not."""
    return Refused(Reason.NOT_FOUND, "There is no certificate with this serial.")


def may_be_revoked(record: Standing) -> bool:
    """The authority's own CAs and responder are not revoked by an operator's call."""
    return record.intent.kind in ("agent", "operator", "server")


def _revocable(connection: Connection, wanted: Filter, now: datetime) -> list[Standing]:
    return [record for record in certificates.revocable(connection, wanted, now) if may_be_revoked(record)]


def _check_not_own(connection: Connection, wanted: Filter) -> None:
    if wanted.key is not None and blocked_keys.own(connection, [wanted.key]):
        raise Refused(
            Reason.CONFLICT,
            "This is a key of the authority itself, which no call revokes; docs/trust.md says what to do instead.",
        )


def _prepare(connection: Connection, order: Order) -> None:
    if order.blocks:
        # Before anything is read: an enrolment that saw the key unblocked must be among what is revoked.
        blocked_keys.keep_still(connection)


def _keys(wanted: Filter, records: Sequence[Standing]) -> list[Thumbprint]:
    """The keys that a compromise is said of, each once."""
    return list(dict.fromkeys([*([wanted.key] if wanted.key else []), *(record.intent.key for record in records)]))


def _planned(connection: Connection, wanted: Filter, order: Order) -> Revoked:
    records = _revocable(connection, wanted, order.now)
    keys = _keys(wanted, records) if order.blocks else []
    known = blocked_keys.blocked(connection, keys)
    everything = [*records, *_sharing(connection, keys, records, order)]
    return Revoked(everything, [key for key in keys if key not in known], dry_run=True)


def _sharing(
    connection: Connection, keys: Sequence[Thumbprint], records: Sequence[Standing], order: Order
) -> list[Standing]:
    """What else is live for these keys."""
    named = {record.intent.serial for record in records}
    others = [serial for serial in blocked_keys.live_serials(connection, keys, order.now) if serial not in named]
    standings = [certificates.standing(connection, serial) for serial in others]
    return [record for record in standings if record is not None and may_be_revoked(record)]


def _carry_out(
    connection: Connection, records: Sequence[Standing], keys: Sequence[Thumbprint], order: Order
) -> Revoked:
    if not order.blocks:
        keys = []
    fresh = [record for record in records if record.revoked_at is None]
    fresh += _sharing(connection, keys, records, order)
    revocations.add(connection, [record.intent for record in fresh], order.now, order.reason)
    audit.append(connection, *[_revoked_entry(record, order) for record in fresh])
    blocked = [key for key in keys if _block(connection, key, order)]
    audit.append(connection, *[_blocked_entry(key, order) for key in blocked])
    return Revoked(fresh, blocked, dry_run=False)


def _block(connection: Connection, key: Thumbprint, order: Order) -> bool:
    return blocked_keys.block(connection, BlockedKey(key, order.reason, order.now, order.actor))


def _revoked_entry(record: Standing, order: Order) -> Entry:
    intent = record.intent
    return Entry(
        at=order.now,
        actor=order.actor,
        action="certificate.revoke",
        decision="granted",
        tenant=intent.tenant,
        agent=intent.holder,
        task=intent.task,
        serial=str(intent.serial),
        detail={"reason": order.reason.value},
    )


def _blocked_entry(key: Thumbprint, order: Order) -> Entry:
    detail = {"key_sha256": key.hex, "reason": order.reason.value}
    return Entry(order.now, order.actor, "key.block", "granted", detail=detail)
