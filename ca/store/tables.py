"""The schema. Migrations make it (`ca.store.migrations`); a test holds the two against each other.

Instants are whole seconds since 1970, UTC; serials and digests are octets.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

# SQLite counts rows by itself only in a column declared INTEGER.
RowId = BigInteger().with_variant(Integer, "sqlite")


class Instant(TypeDecorator[datetime]):
    """A moment in UTC with whole seconds."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> Any:
        """Aware datetimes to seconds; the fraction is dropped."""
        return None if value is None else int(value.timestamp())

    def process_result_value(self, value: Any, _dialect: Dialect) -> datetime | None:
        """Seconds to aware datetimes."""
        return None if value is None else datetime.fromtimestamp(value, UTC)


issuers = Table(
    "issuers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("key_label", Text, nullable=False),
    Column("certificate", LargeBinary, nullable=False),
    # The last CRL number handed out: taken in a transaction of its own before the CRL is signed.
    Column("crl_number", BigInteger, nullable=False),
    Column("created_at", Instant, nullable=False),
)

# How often what an issuer revoked has changed: raised by whoever revokes, holds or releases, in that transaction.
# A row of its own, so that a long revocation keeps nobody from a CRL number.
revisions = Table(
    "revisions",
    metadata,
    Column("issuer", Text, ForeignKey("issuers.id"), primary_key=True),
    Column("revision", BigInteger, nullable=False),
)

agents = Table(
    "agents",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("max_lifetime", Integer),
    Column("max_depth", Integer, nullable=False),
    Column("description", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    # The agent that made it by delegating to it.
    Column("parent", Text),
    # Who it is to a provider of identity: an issuer and a subject, as in a JWT.
    Column("identity_issuer", Text),
    Column("identity_subject", Text),
    Index(
        "ix_agents_identity",
        "identity_issuer",
        "identity_subject",
        unique=True,
        sqlite_where=text("identity_subject IS NOT NULL"),
        postgresql_where=text("identity_subject IS NOT NULL"),
    ),
)

tasks = Table(
    "tasks",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("agent", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("resources", JSON, nullable=False),
    Column("authorization_details", JSON, nullable=False),
    Column("details_sha256", LargeBinary),
    Column("deadline", Instant, nullable=False),
    Column("principal_issuer", Text),
    Column("principal_subject", Text),
    Column("created_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Index(None, "tenant", "agent"),
    Index(None, "state", "deadline"),
)

operators = Table(
    "operators",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
)

enrollment_tokens = Table(
    "enrollment_tokens",
    metadata,
    Column("sha256", LargeBinary, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("task", Text),
    Column("key_sha256", LargeBinary),
    Column("created_by", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("spent_at", Instant),
    # The serial it was spent on: a repeated request with the same key gets the same certificate.
    Column("spent_on", LargeBinary),
    Index(None, "expires_at"),
)

certificates = Table(
    "certificates",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("issuer", Text, ForeignKey("issuers.id"), nullable=False),
    Column("serial", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("tenant", Text),
    Column("holder", Text, nullable=False),
    Column("task", Text),
    Column("key_sha256", LargeBinary, nullable=False),
    Column("not_before", Instant, nullable=False),
    Column("not_after", Instant, nullable=False),
    Column("crl_shard", Integer, nullable=False),
    # The serial of the certificate that delegated to this one.
    Column("parent", LargeBinary),
    # The serial of the first of those that were renewed from one another; null of the first itself.
    Column("line", LargeBinary),
    # What the signer is asked to sign, committed before it is asked; the signature follows.
    Column("tbs", LargeBinary, nullable=False),
    Column("algorithm", LargeBinary, nullable=False),
    Column("signature", LargeBinary),
    Column("x5t", LargeBinary),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("issuer", "serial"),
    Index(None, "tenant", "holder"),
    Index(None, "tenant", "task"),
    Index(None, "x5t"),
    Index(None, "key_sha256"),
    Index(None, "issuer", "kind", "id"),
    # Small at all times: what start-up finishes.
    Index("ix_certificates_unfinished", "id", sqlite_where=text("x5t IS NULL"), postgresql_where=text("x5t IS NULL")),
    Index(
        "ix_certificates_parent",
        "parent",
        sqlite_where=text("parent IS NOT NULL"),
        postgresql_where=text("parent IS NOT NULL"),
    ),
    Index(
        "ix_certificates_line",
        "line",
        "not_after",
        sqlite_where=text("line IS NOT NULL"),
        postgresql_where=text("line IS NOT NULL"),
    ),
    # Of millions few are children, and fewer still live.
    Index(
        "ix_certificates_children",
        "not_after",
        sqlite_where=text("parent IS NOT NULL"),
        postgresql_where=text("parent IS NOT NULL"),
    ),
)

# Proofs of identity that can be used once and were.
spent_proofs = Table(
    "spent_proofs",
    metadata,
    Column("sha256", LargeBinary, primary_key=True),
    Column("expires_at", Instant, nullable=False),
    Index(None, "expires_at"),
)

# Authorization details that a certificate carries the digest of, where they are not its task's of today.
details = Table(
    "details",
    metadata,
    Column("sha256", LargeBinary, primary_key=True),
    Column("items", JSON, nullable=False),
)

# A request that was answered once: sent again with the same key, it gets the same certificate.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("sha256", LargeBinary, primary_key=True),
    Column("request_sha256", LargeBinary, nullable=False),
    Column("serial", LargeBinary, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Index(None, "expires_at"),
)

# Keys, by the SHA-256 of their SubjectPublicKeyInfo, that are never certified (again).
blocked_keys = Table(
    "blocked_keys",
    metadata,
    Column("key_sha256", LargeBinary, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("blocked_at", Instant, nullable=False),
    Column("blocked_by", Text, nullable=False),
)

# Who draws serials that begin with which octet, and until when.
replicas = Table(
    "replicas",
    metadata,
    Column("octet", Integer, primary_key=True, autoincrement=False),
    Column("holder", Text, nullable=False),
    Column("leased_until", Instant, nullable=False),
)

revocations = Table(
    "revocations",
    metadata,
    Column("issuer", Text, ForeignKey("issuers.id"), primary_key=True),
    Column("serial", LargeBinary, primary_key=True),
    Column("crl_shard", Integer, nullable=False),
    Column("revoked_at", Instant, nullable=False),
    Column("reason", Text, nullable=False),
    # The certificate's notAfter: an entry leaves the CRL only after it (RFC 5280 3.3).
    Column("expires_at", Instant, nullable=False),
    # The issuer's revision that this came with: it names the one act that revoked.
    Column("revision", BigInteger, nullable=False),
    # The entry of a CRL in DER, made once.
    Column("entry", LargeBinary, nullable=False),
    Index(None, "issuer", "crl_shard", "expires_at"),
    Index(None, "issuer", "revision"),
)

# Holds that were taken away; a delta CRL says so of each.
releases = Table(
    "releases",
    metadata,
    Column("issuer", Text, ForeignKey("issuers.id"), primary_key=True),
    Column("serial", LargeBinary, primary_key=True),
    # When it was held.
    Column("revoked_at", Instant, primary_key=True),
    Column("released_at", Instant, nullable=False),
    Column("crl_shard", Integer, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("entry", LargeBinary, nullable=False),
    Index(None, "issuer", "revision"),
)

crls = Table(
    "crls",
    metadata,
    Column("issuer", Text, ForeignKey("issuers.id"), primary_key=True),
    Column("shard", Integer, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("this_update", Instant, nullable=False),
    Column("next_update", Instant, nullable=False),
    # The issuer's revision up to which it is complete, and how many entries it has.
    Column("revision", BigInteger, nullable=False),
    Column("entries", Integer, nullable=False),
    # Of a delta: number, time and revision of the full list on which it stands.
    Column("base_number", BigInteger),
    Column("base_update", Instant),
    Column("base_revision", BigInteger),
    Column("der", LargeBinary, nullable=False),
)

# Who does what only one may do, and how often it changed hands: what an earlier holder still tries is refused.
leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("leased_until", Instant, nullable=False),
)

# Revocations that one operator asked for and another must confirm.
proposals = Table(
    "proposals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("wanted", JSON, nullable=False),
    Column("reason", Text, nullable=False),
    Column("count", Integer, nullable=False),
    Column("proposed_by", Text, nullable=False),
    Column("proposed_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("confirmed_by", Text),
    Column("confirmed_at", Instant),
)

audit = Table(
    "audit",
    metadata,
    Column("sequence", RowId, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("decision", Text, nullable=False),
    Column("tenant", Text),
    Column("agent", Text),
    Column("task", Text),
    Column("serial", Text),
    Column("detail", JSON, nullable=False),
)
