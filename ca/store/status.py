"""What the status service reads, and all that it reads: read-only, by its own connections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from cryptography import x509
from sqlalchemy import Connection, and_, select, text

from ca.identifiers import Serial
from ca.pki.profile import Kind
from ca.store import certificates as certificate_store
from ca.store import crls
from ca.store import issuers as issuer_store
from ca.store.certificates import State
from ca.store.crls import PublishedCrl
from ca.store.tables import certificates, revocations
from ca.store.transaction import open_engine


@dataclass(frozen=True, slots=True)
class Good:
    """Issued by this authority and not revoked: never said without a stored, finished certificate."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """Revoked, or signed for and not yet known to be finished (which is said as a hold)."""

    at: datetime
    reason: x509.ReasonFlags


@dataclass(frozen=True, slots=True)
class Unknown:
    """Not a serial that this CA ever assigned."""


CertificateStatus = Good | Revoked | Unknown


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA whose certificates can be asked about. `id` is its name in URLs."""

    id: str
    certificate: x509.Certificate
    kind: Literal["root", "issuing"]


@dataclass(frozen=True, slots=True)
class Responder:
    """The delegated OCSP responder's certificate in force (RFC 6960 4.2.2.2)."""

    certificate: x509.Certificate


class StatusReader:
    """Reads the status of certificates. Not for several threads at once."""

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url, writable=False)
        self._watch: Connection | None = None

    def authorities(self) -> list[Authority]:
        """Every CA of this database, the root first."""
        with self._engine.connect() as connection:
            records = issuer_store.everyone(connection)
        return [
            Authority(
                id=record.id,
                certificate=x509.load_der_x509_certificate(record.certificate),
                kind="root" if record.kind is Kind.ROOT else "issuing",
            )
            for record in records
        ]

    def responder(self, authority_id: str, now: datetime) -> Responder | None:
        """The responder certificate of this CA that is valid now and lives longest, or None."""
        with self._engine.connect() as connection:
            record = certificate_store.newest(connection, Kind.RESPONDER, authority_id, now)
        return None if record is None else Responder(x509.load_der_x509_certificate(record.der))

    def statuses(self, authority_id: str, serials: Sequence[Serial]) -> dict[Serial, CertificateStatus]:
        """The status of each serial. What is not in the database is `Unknown`."""
        joined = and_(revocations.c.issuer == certificates.c.issuer, revocations.c.serial == certificates.c.serial)
        query = (
            select(
                certificates.c.serial,
                certificates.c.state,
                certificates.c.created_at,
                revocations.c.revoked_at,
                revocations.c.reason,
            )
            .outerjoin(revocations, joined)
            .where(
                certificates.c.issuer == authority_id,
                certificates.c.serial.in_([serial.octets for serial in serials]),
            )
        )
        found: dict[Serial, CertificateStatus] = {serial: Unknown() for serial in serials}
        with self._engine.connect() as connection:
            for row in connection.execute(query):
                found[Serial.from_octets(row.serial)] = _status(row)
        return found

    def crl(self, authority_id: str, shard: int = 0) -> PublishedCrl | None:
        """The CRL in force, or None before the first. Shard 0 is the full list."""
        with self._engine.connect() as connection:
            return crls.find(connection, authority_id, shard)

    def version(self) -> object:
        """A value that differs after anything read here has changed.

        SQLite counts the commits of others for each connection (`PRAGMA data_version`), so one
        connection is kept for this alone. Each look is a transaction of its own: inside a longer
        one the view, and so the count, stands still.
        """
        if self._watch is None:
            self._watch = self._engine.connect()
        with self._watch.begin():
            return self._watch.execute(text(_VERSION[self._engine.dialect.name])).scalar_one()

    def close(self) -> None:
        """Closes every connection."""
        if self._watch is not None:
            self._watch.close()
        self._engine.dispose()


_VERSION = {
    "sqlite": "PRAGMA data_version",
    # A standby writes no log; it replays the primary's.
    "postgresql": "SELECT CASE WHEN pg_is_in_recovery()"
    " THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text",
}


def _status(row: Any) -> CertificateStatus:
    if row.revoked_at is not None:
        return Revoked(row.revoked_at, x509.ReasonFlags(row.reason))
    if row.state == State.ISSUED.value:
        return Good()
    # The key may have signed it and the answer may have left: never good, and never unknown either.
    return Revoked(row.created_at, x509.ReasonFlags.certificate_hold)
