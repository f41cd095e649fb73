"""What the benchmark reads from and writes into a database by itself, past the authority."""

from __future__ import annotations

from sqlalchemy import create_engine, select, text

from ca.authority.hierarchy import ISSUING
from ca.store.tables import certificates

VICTIM = "agent-0000"
"""The agent whose certificates are revoked all at once."""

_REVOKE = """
    INSERT INTO revocations (issuer, serial, crl_shard, revoked_at, reason, expires_at)
    SELECT issuer, serial, crl_shard, :now, 'superseded', not_after FROM certificates
    WHERE kind = 'agent' AND NOT EXISTS (
        SELECT 1 FROM revocations AS r WHERE r.issuer = certificates.issuer AND r.serial = certificates.serial
    )
"""


def revoke_everything(database_url: str, now: int) -> None:
    """Revokes each agent's certificate as `ca.store.revocations` leaves it, while nobody uses the database.

    `now` is in seconds since 1970.
    """
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text(_REVOKE), {"now": now})
    engine.dispose()


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
