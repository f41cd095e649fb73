"""The end of an authority: the root revokes the issuing CA. No call of the API does it, whoever makes it."""

from __future__ import annotations

from cryptography import x509

from ca.authority.authority import Authority
from ca.authority.publisher import Publisher
from ca.identifiers import Serial
from ca.refusals import Reason, Refused
from ca.store import audit, certificates, revocations
from ca.store.audit import Entry
from ca.store.stillness import Stillness
from ca.store.transaction import Connection, Database

REASONS = {
    flag.value: flag
    for flag in (
        x509.ReasonFlags.ca_compromise,
        x509.ReasonFlags.cessation_of_operation,
        x509.ReasonFlags.superseded,
    )
}
"""What a CA can be revoked for (RFC 5280 5.3.1)."""


async def close(authority: Authority, publisher: Publisher, reason: x509.ReasonFlags, actor: str) -> None:
    """Revokes the issuing CA's certificate and publishes the root's list with it. Said twice, the first word counts.

    Raises `Refused(UNAVAILABLE)` when the signer or the database cannot: what was stored is published by a second try.
    """
    serial = Serial(authority.issuer.certificate.serial_number)

    def act(connection: Connection) -> None:
        if is_closed(connection, serial):
            return
        now = authority.clock()
        begun = revocations.begin(connection, authority.root.id, now, reason)
        revocations.revoke_authority(connection, begun, serial)
        detail = {"reason": reason.value, "issuer": authority.issuer.id}
        entry = Entry(now, actor, "authority.close", "granted", serial=str(serial), detail=detail)
        audit.append(connection, entry)

    authority.database.write(act, Stillness.EVERYTHING).result()
    await publisher.publish()


def is_closed(connection: Connection, serial: Serial) -> bool:
    """Whether the CA with this serial was revoked."""
    standing = certificates.standing(connection, serial)
    return standing is not None and standing.revoked_at is not None


def check_open(database: Database, issuer: x509.Certificate) -> None:
    """Raises `Refused(CONFLICT)` for an authority that was closed: what it would issue nobody may trust."""
    with database.read() as connection:
        if is_closed(connection, Serial(issuer.serial_number)):
            raise Refused(
                Reason.CONFLICT,
                "The issuing CA was revoked by its root, for good: make a new authority in a new home.",
            )
