"""Revocation: which certificates, for what reason, in one transaction; a dry run stops before it.

The commit is the revocation. The lists follow at once, and the status service reads the same rows.

`keyCompromise` is said of a key, however the certificates were named: their keys are blocked in the
same transaction, and whatever else is live for one of these keys is revoked with them.

Whatever was delegated from what is revoked is revoked with it, however far: of a compromise with the reason
privilegeWithdrawn, since nothing is known against a child's own key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from cryptography import x509

from ca.authority.authority import Authority
from ca.identifiers import Serial, Thumbprint
from ca.refusals import Reason, Refused
from ca.store import audit, blocked_keys, certificates, filters, revocations
from ca.store.audit import Entry
from ca.store.blocked_keys import Blocking
from ca.store.certificates import Standing
from ca.store.filters import Filter
from ca.store.revocations import Act
from ca.store.stillness import Stillness
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

SHOWN = 1000
"""Certificates and keys that an answer names; it counts all."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """What was revoked and which keys were blocked now, or would be: how many, and the oldest of them."""

    count: int
    certificates: list[Standing]
    blocked_keys: list[Thumbprint]
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Order:
    """Whose certificates, why, by whom and when: what every row and entry of one revocation says."""

    issuer: str
    reason: x509.ReasonFlags
    actor: str
    now: datetime
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def blocks(self) -> bool:
        """Whether the keys are never to be certified again."""
        return self.reason is x509.ReasonFlags.key_compromise


def order_of(authority: Authority, reason: x509.ReasonFlags, actor: str) -> Order:
    """An order of this moment."""
    return Order(authority.issuer.id, reason, actor, authority.clock())


def reason_of(name: str) -> x509.ReasonFlags:
    """The reason of this RFC 5280 name. Raises `Refused(REASON_REFUSED)` with the names there are."""
    if name not in REASONS:
        raise Refused(Reason.REASON_REFUSED, f"The reason must be one of: {', '.join(REASONS)}.")
    return REASONS[name]


def revoke_serial(authority: Authority, serial: Serial, reason: x509.ReasonFlags, actor: str) -> Standing:
    """Revokes one certificate; one that was revoked before keeps its date and reason, one on hold is revoked for good.

    Raises `Refused`: NOT_FOUND for an unknown or a CA's serial, CONFLICT for an expired one.
    """

    def act(connection: Connection) -> Standing:
        order = order_of(authority, reason, actor)
        _prepare(connection, order)
        record = require(connection, serial)
        if record.state(order.now) != "revoked" and record.has_expired(order.now):
            raise Refused(
                Reason.CONFLICT,
                "This certificate has expired and is refused everywhere; a compromised key is revoked by the key.",
            )
        _carry_out(connection, Filter(serial=serial), [record.intent.key], order)
        return require(connection, serial)

    return authority.database.write(act, Stillness.EVERYTHING).result()


def revoke_many(
    authority: Authority, wanted: Filter, reason: x509.ReasonFlags, actor: str, *, dry_run: bool
) -> Revoked:
    """Revokes every live certificate of a filter in one transaction, or only says which they are.

    A filter by key with the reason keyCompromise blocks the key, whether it was ever certified or not.
    Raises `Refused(CONFLICT)` for the key of a CA or responder of this authority.
    """
    if dry_run:
        with authority.database.read() as connection:
            check_not_own(connection, wanted)
            return _planned(connection, wanted, order_of(authority, reason, actor))

    def act(connection: Connection) -> Revoked:
        check_not_own(connection, wanted)
        return revoke_within(connection, wanted, order_of(authority, reason, actor))

    return authority.database.write(act, Stillness.EVERYTHING).result()


def revoke_within(connection: Connection, wanted: Filter, order: Order) -> Revoked:
    """Revokes every live certificate of a filter inside the caller's transaction."""
    _prepare(connection, order)
    return _carry_out(connection, wanted, [wanted.key] if wanted.key else [], order)


def count(connection: Connection, wanted: Filter, now: datetime) -> int:
    """How many certificates a filter would revoke, without those that share their keys."""
    named = filters.narrowed(wanted, now)
    return certificates.count(connection, filters.either(named, filters.below(named)) & filters.revocable(now))


def unknown() -> Refused:
    """The one answer to a serial that the caller may not know of, issued or not."""
    return Refused(Reason.NOT_FOUND, "There is no certificate with this serial.")


def require(connection: Connection, serial: Serial) -> Standing:
    """What became of a serial. Raises `Refused(NOT_FOUND)`, also for the authority's own CAs and responder."""
    record = certificates.standing(connection, serial)
    if record is None or record.intent.kind not in filters.REVOCABLE_KINDS:
        raise unknown()
    return record


def check_not_own(connection: Connection, wanted: Filter) -> None:
    """Raises `Refused(CONFLICT)` for a key of the authority itself."""
    if wanted.key is not None and blocked_keys.own(connection, [wanted.key]):
        raise Refused(
            Reason.CONFLICT,
            "This is a key of the authority itself, which no call revokes; docs/trust.md says what to do instead.",
        )


def _prepare(connection: Connection, order: Order) -> None:
    if order.blocks:
        # Before anything is read: an enrolment that saw the key unblocked must be among what is revoked.
        blocked_keys.keep_still(connection)


def _planned(connection: Connection, wanted: Filter, order: Order) -> Revoked:
    named = filters.narrowed(wanted, order.now)
    revocable = filters.revocable(order.now)
    keys = [wanted.key] if wanted.key and order.blocks else []
    theirs = filters.with_sharing(named, keys, order.now) if order.blocks else named & revocable
    everything = filters.either(theirs, filters.below(named, theirs) & revocable)
    shown = certificates.some(connection, everything, SHOWN)
    if order.blocks:
        keys += [record.intent.key for record in certificates.some(connection, theirs, SHOWN)]
    known = blocked_keys.blocked(connection, keys)
    fresh = [key for key in dict.fromkeys(keys) if key not in known]
    return Revoked(certificates.count(connection, everything), shown, fresh, dry_run=True)


def _carry_out(connection: Connection, wanted: Filter, keys: Sequence[Thumbprint], order: Order) -> Revoked:
    """`keys` are those that a compromise is said of by name; the others are of what is revoked."""
    named = filters.narrowed(wanted, order.now)
    keys = list(keys) if order.blocks else []
    if _is_done(connection, named, keys, order):
        return Revoked(0, [], _block(connection, keys, order), dry_run=False)
    act = revocations.begin(connection, order.issuer, order.now, order.reason)
    if order.blocks:
        revocations.revoke_compromised(connection, act, named, keys)
    else:
        revocations.revoke(connection, act, named)
    done = revocations.done_by(act)
    _note(connection, order, done)
    if order.blocks:
        keys = [*keys, *blocked_keys.of_revoked(connection, done)]
    blocked = _block(connection, keys, order)
    below = _carry_down(connection, named, act, order)
    everything = done if below is None else revocations.done_by(act, below)
    counted = revocations.count(connection, everything)
    return Revoked(counted, certificates.some(connection, everything, SHOWN), blocked, dry_run=False)


def _carry_down(connection: Connection, named: Any, act: Act, order: Order) -> Act | None:
    """Revokes what was delegated from what this act revoked, or from what it named and was revoked before."""
    descendants = filters.below(named, revocations.done_by(act))
    if not _is_any(connection, filters.DELEGATED, order) or not _is_any(connection, descendants, order):
        return None
    carried = replace(order, reason=_carried(order.reason))
    below = revocations.begin(connection, order.issuer, order.now, carried.reason)
    revocations.revoke(connection, below, descendants)
    _note(connection, carried, revocations.done_by(below))
    return below


def _carried(reason: x509.ReasonFlags) -> x509.ReasonFlags:
    return x509.ReasonFlags.privilege_withdrawn if reason is x509.ReasonFlags.key_compromise else reason


def _note(connection: Connection, order: Order, done: Any) -> None:
    audit.append_for_each(connection, _entry("certificate.revoke", order, {"reason": order.reason.value}), done)


def _is_done(connection: Connection, named: Any, keys: Sequence[Thumbprint], order: Order) -> bool:
    """Whether nothing of it is left to be revoked: said twice, a revocation begins no new lists."""
    left = (named, filters.of_keys(keys), filters.below(named))
    return not any(_is_any(connection, condition, order) for condition in left)


def _is_any(connection: Connection, condition: Any, order: Order) -> bool:
    return certificates.is_any(connection, condition & filters.revocable(order.now))


def _block(connection: Connection, keys: Sequence[Thumbprint], order: Order) -> list[Thumbprint]:
    blocked = blocked_keys.block(connection, keys, Blocking(order.reason, order.now, order.actor))
    details = [{"key_sha256": key.hex, "reason": order.reason.value} for key in blocked]
    audit.append(connection, *[_entry("key.block", order, detail) for detail in details])
    return blocked[:SHOWN]


def _entry(action: str, order: Order, detail: dict[str, Any]) -> Entry:
    return Entry(order.now, order.actor, action, "granted", detail=detail | order.detail)
