"""Proofs of identity that can be used once: which were, for as long as they would hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, select

from ca.identifiers import Thumbprint
from ca.store import bulk, notes
from ca.store.tables import spent_proofs

_FIND = select(spent_proofs.c.sha256).where(spent_proofs.c.sha256.in_(bindparam("proofs", expanding=True)))


def spend(connection: Connection, proofs: Mapping[Thumbprint, datetime]) -> None:
    """Notes that these were used, and until when they would hold. Raises `IntegrityError` where one was before."""
    rows = [{"sha256": proof.digest, "expires_at": expires_at} for proof, expires_at in proofs.items()]
    if rows:
        bulk.insert_all(connection, spent_proofs, rows)
        notes.note(connection, "prove", rows)


def spent(connection: Connection, proofs: Collection[Thumbprint]) -> set[Thumbprint]:
    """Which of these were used."""
    rows = connection.execute(_FIND, {"proofs": [proof.digest for proof in proofs]}) if proofs else ()
    return {Thumbprint(row.sha256) for row in rows}


def forget(connection: Connection, before: datetime) -> int:
    """Deletes those that would have expired before this moment; returns how many."""
    return connection.execute(delete(spent_proofs).where(spent_proofs.c.expires_at < before)).rowcount
