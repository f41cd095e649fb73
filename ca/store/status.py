"""What the status service reads, and all that it reads: read-only, by its own connections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from cryptography import x509
from sqlalchemy import Connection, and_, literal, select, text, union_all

from ca.identifiers import Serial
from ca.pki.profile import Kind
from ca.store import certificates as certificate_store
from ca.store import crls
from ca.store import issuers as issuer_store
from ca.store.certificates import State
from ca.store.crls import Heading, PublishedCrl
from ca.store.tables import certificates, revisions, revocations
from ca.store.tables import crls as crls_table
from ca.store.transaction import open_engine


@dataclass(frozen=True, slots=True)
class Good:
    """Issued by this authority and not revoked: never said without a stored, finished certificate."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """Revoked or held."""

    at: datetime
    reason: x509.ReasonFlags


@dataclass(frozen=True, slots=True)
class Intended:
    """Signed for at this moment and not known to be finished. No version tells of its end, so it is not to be kept."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Unknown:
    """Not a serial that this CA ever assigned."""


CertificateStatus = Good | Revoked | Intended | Unknown


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA whose certificates can be asked about. `id` is its name in URLs."""

    id: str
    certificate: x509.Certificate
    kind: Literal["root", "issuing"]


@dataclass(frozen=True, slots=True)
class Responder:
    """A delegated OCSP responder's certificate in force (RFC 6960 4.2.2.2)."""

    certificate: x509.Certificate


class StatusReader:
    """Reads the status of certificates. `version` is for one thread, the rest for any."""

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url, writable=False)
        self._watch: Connection | None = None
        self._version: tuple[object, object] | None = None

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

    def responders(self, authority_id: str, now: datetime) -> list[Responder]:
        """The responder certificates of this CA that are valid now, the one that lives longest first."""
        with self._engine.connect() as connection:
            records = certificate_store.in_force(connection, Kind.RESPONDER, authority_id, now)
        return [Responder(x509.load_der_x509_certificate(record.der)) for record in records]

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

    def lists(self) -> list[Heading]:
        """Every list in force."""
        with self._engine.connect() as connection:
            return crls.headings(connection)

    def version(self) -> object:
        """A value that differs after anything was revoked, held, released or published.

        SQLite counts the commits of others for each connection (`PRAGMA data_version`), so one connection is
        kept for this alone, and where nothing was committed nothing is read. Each look is a transaction of its
        own: inside a longer one the view, and so the count, stands still.
        """
        if self._watch is None:
            self._watch = self._engine.connect()
        if self._engine.dialect.name == "sqlite":
            with self._watch.begin():
                commits = self._watch.execute(_COMMITS).scalar_one()
            if self._version is not None and self._version[0] == commits:
                return self._version[1]
        else:
            commits = None
        with self._watch.begin():
            self._version = (commits, tuple(tuple(row) for row in self._watch.execute(_NUMBERS)))
        return self._version[1]

    def close(self) -> None:
        """Closes every connection."""
        if self._watch is not None:
            self._watch.close()
        self._engine.dispose()


_COMMITS = text("PRAGMA data_version")
_NUMBERS = union_all(
    select(revisions.c.issuer, literal(None), revisions.c.revision),
    select(crls_table.c.issuer, crls_table.c.shard, crls_table.c.number),
).order_by(text("1, 2, 3"))


def _status(row: Any) -> CertificateStatus:
    if row.revoked_at is not None:
        return Revoked(row.revoked_at, x509.ReasonFlags(row.reason))
    if row.state == State.ISSUED.value:
        return Good()
    return Intended(row.created_at)
