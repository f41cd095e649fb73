"""Holds: a certificate is refused everywhere until it is released; the one revocation that can be taken back."""

from __future__ import annotations

from cryptography import x509

from ca.authority.authority import Authority
from ca.authority.revoke import order_of, require
from ca.identifiers import Serial
from ca.refusals import Reason, Refused
from ca.store import audit, filters, revocations
from ca.store.audit import Entry
from ca.store.certificates import Standing
from ca.store.filters import Filter
from ca.store.stillness import Stillness
from ca.store.transaction import Connection


def hold(authority: Authority, serial: Serial, actor: str) -> Standing:
    """Puts a certificate on hold; one that is held stays so.

    Raises `Refused`: NOT_FOUND for an unknown or a CA's serial, CONFLICT for one that is revoked or has expired.
    """

    def act(connection: Connection) -> Standing:
        order = order_of(authority, x509.ReasonFlags.certificate_hold, actor)
        record = require(connection, serial)
        match record.state(order.now):
            case "held":
                return record
            case "live":
                if revocations.was_held_at(connection, order.issuer, serial, order.now):
                    raise Refused(Reason.CONFLICT, "It was released in this very second; try again in the next.")
            case state:
                raise Refused(Reason.CONFLICT, f"This certificate is {state}, and stays so.")
        held = revocations.begin(connection, order.issuer, order.now, order.reason)
        revocations.revoke(connection, held, filters.narrowed(Filter(serial=serial), order.now))
        audit.append_for_each(
            connection, Entry(order.now, actor, "certificate.hold", "granted"), revocations.done_by(held)
        )
        return require(connection, serial)

    return authority.database.write(act, Stillness.EVERYTHING).result()


def release(authority: Authority, serial: Serial, actor: str) -> Standing:
    """Takes a hold away; one that is not held stays as it is.

    Raises `Refused`: NOT_FOUND for an unknown or a CA's serial, CONFLICT for one that is revoked for good.
    """

    def act(connection: Connection) -> Standing:
        order = order_of(authority, x509.ReasonFlags.remove_from_crl, actor)
        record = require(connection, serial)
        if record.state(order.now) == "revoked":
            raise Refused(Reason.CONFLICT, "This certificate is revoked for good: only a hold can be released.")
        if record.revoked_at is None:
            return record
        released = revocations.begin(connection, order.issuer, order.now, order.reason)
        revocations.release(connection, released, serial)
        intent = record.intent
        entry = Entry(
            *(order.now, actor, "certificate.release", "granted"),
            *(intent.tenant, intent.holder, intent.task, str(intent.serial)),
        )
        audit.append(connection, entry)
        return require(connection, serial)

    return authority.database.write(act, Stillness.EVERYTHING).result()
