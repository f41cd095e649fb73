"""Keys that are never certified (again): those that were compromised, and the authority's own.

A key is blocked in the transaction that revokes its certificates, and looked up in the one that
stores an intent, so no certificate of a blocked key is live.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from sqlalchemy import Connection, Executable, and_, bindparam, select, text, union_all
from sqlalchemy.dialects import postgresql, sqlite

from ca.identifiers import Serial, Thumbprint
from ca.pki.profile import Kind
from ca.store import journal
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
_LIVE = (
    select(certificates.c.serial)
    .outerjoin(
        revocations,
        and_(revocations.c.issuer == certificates.c.issuer, revocations.c.serial == certificates.c.serial),
    )
    .where(certificates.c.key_sha256.in_(bindparam("keys", expanding=True)))
    .where(certificates.c.not_after >= bindparam("now"), revocations.c.serial.is_(None))
    .order_by(certificates.c.id)
)


@dataclass(frozen=True, slots=True)
class BlockedKey:
    """A key, by the digest of its SubjectPublicKeyInfo, and who blocked it when and why."""

    key: Thumbprint
    reason: x509.ReasonFlags
    blocked_at: datetime
    blocked_by: str


def keep_still(connection: Connection) -> None:
    """Waits for whoever looked a key up and has not stored its intent yet; nobody looks one up until this commits.

    SQLite has one writer. On PostgreSQL a look-up holds the table's weakest lock to its transaction's end.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE blocked_keys IN ACCESS EXCLUSIVE MODE"))


def block(connection: Connection, one: BlockedKey) -> bool:
    """Blocks a key; one that was blocked before keeps its first date and reason, and the answer is False."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    row = {
        "key_sha256": one.key.digest,
        "reason": one.reason.value,
        "blocked_at": one.blocked_at,
        "blocked_by": one.blocked_by,
    }
    journal.note(connection, "block", [row])
    statement = dialect.insert(blocked_keys).values(**row)
    # Without the option PostgreSQL's count is not kept for an INSERT.
    statement = statement.on_conflict_do_nothing()
    return connection.execute(statement.execution_options(preserve_rowcount=True)).rowcount == 1


def find(connection: Connection, key: Thumbprint) -> BlockedKey | None:
    """Why this key is blocked, or None."""
    row = connection.execute(select(blocked_keys).where(blocked_keys.c.key_sha256 == key.digest)).one_or_none()
    if row is None:
        return None
    return BlockedKey(key, x509.ReasonFlags(row.reason), row.blocked_at, row.blocked_by)


def refused(connection: Connection, keys: Collection[Thumbprint]) -> set[Thumbprint]:
    """Which of a batch's keys nobody may be certified for: blocked, or ever a CA's, a responder's or a TLS server's."""
    return _keys(connection, _REFUSED, keys)


def blocked(connection: Connection, keys: Collection[Thumbprint]) -> set[Thumbprint]:
    """Which of these keys are blocked."""
    return _keys(connection, _BLOCKED, keys)


def own(connection: Connection, keys: Collection[Thumbprint]) -> set[Thumbprint]:
    """Which of these keys are, or were, a CA's or a responder's of this authority."""
    return _keys(connection, _OWN, keys)


def live_serials(connection: Connection, keys: Collection[Thumbprint], now: datetime) -> list[Serial]:
    """Everything certified for these keys that is neither revoked nor expired, intents too."""
    serials: list[Serial] = []
    for part in _parts(keys):
        rows = connection.execute(_LIVE, {"keys": part, "now": now})
        serials += [Serial.from_octets(row.serial) for row in rows]
    return serials


def _keys(connection: Connection, query: Executable, keys: Collection[Thumbprint]) -> set[Thumbprint]:
    found: set[Thumbprint] = set()
    for part in _parts(keys):
        found |= {Thumbprint(row.key_sha256) for row in connection.execute(query, {"keys": part})}
    return found


def _parts(keys: Collection[Thumbprint]) -> list[list[bytes]]:
    digests = [key.digest for key in keys]
    return [digests[start : start + _AT_ONCE] for start in range(0, len(digests), _AT_ONCE)]
