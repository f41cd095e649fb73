"""Keys that are never certified (again): those that were compromised, and the authority's own.

A key is blocked in the transaction that revokes its certificates, and looked up in the one that
stores an intent, so no certificate of a blocked key is live.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from sqlalchemy import ColumnElement, Connection, Executable, bindparam, func, select, text, union_all

from ca.identifiers import Thumbprint
from ca.pki.profile import Kind
from ca.store import bulk, notes
from ca.store.filters import JOINED
from ca.store.tables import blocked_keys, certificates, revocations

_AT_ONCE = 500
"""Keys of one statement: databases count the values they take."""

_AUTHORITYS = tuple(kind.value for kind in (Kind.ROOT, Kind.ISSUING, Kind.RESPONDER))

_BLOCKED = select(blocked_keys.c.key_sha256).where(blocked_keys.c.key_sha256.in_(bindparam("keys", expanding=True)))
_OWN = (
    select(certificates.c.key_sha256)
    .where(certificates.c.key_sha256.in_(bindparam("keys", expanding=True)))
    .where(certificates.c.kind.in_(_AUTHORITYS))
)
_OWN_OR_SERVERS = (
    select(certificates.c.key_sha256)
    .where(certificates.c.key_sha256.in_(bindparam("keys", expanding=True)))
    .where(certificates.c.kind.in_((*_AUTHORITYS, Kind.SERVER.value)))
)
_REFUSED = union_all(_BLOCKED, _OWN_OR_SERVERS)


@dataclass(frozen=True, slots=True)
class Blocking:
    """Why keys are blocked, since when and by whom."""

    reason: x509.ReasonFlags
    blocked_at: datetime
    blocked_by: str


def keep_still(connection: Connection) -> None:
    """Waits for whoever looked a key up and has not stored its intent yet; nobody looks one up until this commits.

    SQLite has one writer. On PostgreSQL a look-up holds the table's weakest lock to its transaction's end.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE blocked_keys IN ACCESS EXCLUSIVE MODE"))


def block(connection: Connection, keys: Collection[Thumbprint], why: Blocking) -> list[Thumbprint]:
    """Blocks keys, in one place after `keep_still`; those that were not blocked before."""
    known = blocked(connection, keys)
    fresh = [key for key in dict.fromkeys(keys) if key not in known]
    rows = [
        {
            "key_sha256": key.digest,
            "reason": why.reason.value,
            "blocked_at": why.blocked_at,
            "blocked_by": why.blocked_by,
        }
        for key in fresh
    ]
    bulk.insert_all(connection, blocked_keys, rows)
    notes.note(connection, "block", rows)
    return fresh


def of_revoked(connection: Connection, revoked: ColumnElement[bool]) -> list[Thumbprint]:
    """The keys of a condition over `revocations`, each once, in the order in which they were certified."""
    query = select(certificates.c.key_sha256).join(revocations, JOINED).where(revoked)
    query = query.group_by(certificates.c.key_sha256).order_by(func.min(certificates.c.id))
    return [Thumbprint(row.key_sha256) for row in connection.execute(query)]


def were_certified(connection: Connection, key: Thumbprint) -> bool:
    """Whether anything was ever certified for this key."""
    return (
        connection.execute(select(certificates.c.id).where(certificates.c.key_sha256 == key.digest)).first() is not None
    )


def find(connection: Connection, key: Thumbprint) -> Blocking | None:
    """Why this key is blocked, or None."""
    row = connection.execute(select(blocked_keys).where(blocked_keys.c.key_sha256 == key.digest)).one_or_none()
    if row is None:
        return None
    return Blocking(x509.ReasonFlags(row.reason), row.blocked_at, row.blocked_by)


def refused(connection: Connection, keys: Collection[Thumbprint]) -> set[Thumbprint]:
    """Which of a batch's keys nobody may be certified for: blocked, or ever a CA's, a responder's or a TLS server's."""
    return _keys(connection, _REFUSED, keys)


def blocked(connection: Connection, keys: Collection[Thumbprint]) -> set[Thumbprint]:
    """Which of these keys are blocked."""
    return _keys(connection, _BLOCKED, keys)


def own(connection: Connection, keys: Collection[Thumbprint]) -> set[Thumbprint]:
    """Which of these keys are, or were, a CA's or a responder's of this authority."""
    return _keys(connection, _OWN, keys)


def _keys(connection: Connection, query: Executable, keys: Collection[Thumbprint]) -> set[Thumbprint]:
    found: set[Thumbprint] = set()
    for part in _parts(keys):
        found |= {Thumbprint(row.key_sha256) for row in connection.execute(query, {"keys": part})}
    return found


def _parts(keys: Collection[Thumbprint]) -> list[list[bytes]]:
    digests = [key.digest for key in keys]
    return [digests[start : start + _AT_ONCE] for start in range(0, len(digests), _AT_ONCE)]
