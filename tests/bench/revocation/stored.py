"""What the benchmark reads from and writes into a database by itself, past the authority."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime

from cryptography import x509
from sqlalchemy import create_engine, select

from ca.authority.hierarchy import ISSUING
from ca.pki.profile import Kind
from ca.store import revocations
from ca.store.tables import certificates
from ca.store.transaction import Connection, Database

VICTIM = "agent-0000"
"""The agent whose certificates are revoked all at once."""


def revoke_everything(database_url: str, now: int) -> None:
    """Revokes each agent's certificate, without a word in the audit trail. `now` is in seconds since 1970."""

    def act(connection: Connection) -> None:
        begun = revocations.begin(connection, ISSUING, datetime.fromtimestamp(now, UTC), x509.ReasonFlags.superseded)
        revocations.revoke(connection, begun, certificates.c.kind == Kind.AGENT.value)

    with closing(Database(database_url)) as database:
        database.write(act).result()


def serials(database_url: str, *, victim: bool) -> list[bytes]:
    """The serials of the victim's certificates, or of everybody else's, the youngest first."""
    is_victim = certificates.c.holder == VICTIM
    query = (
        select(certificates.c.serial)
        .where(certificates.c.issuer == ISSUING, certificates.c.kind == "agent")
        .where(is_victim if victim else ~is_victim)
        .order_by(certificates.c.id.desc())
    )
    engine = create_engine(database_url)
    with engine.connect() as connection:
        found = [bytes(serial) for serial in connection.execute(query).scalars()]
    engine.dispose()
    return found
