"""Revisions of what is revoked, entries encoded once, holds that were released, deltas, leases, proposals, lineage."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op
from cryptography import x509

from ca.identifiers import Serial
from ca.pki import crl

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_CHUNK = 10_000
_HAS_PARENT = sa.text("parent IS NOT NULL")


def upgrade() -> None:
    _revisions()
    _lineage()
    _revocations()
    _crls()
    op.create_table(
        "releases",
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("serial", sa.LargeBinary, nullable=False),
        sa.Column("revoked_at", sa.BigInteger, nullable=False),
        sa.Column("released_at", sa.BigInteger, nullable=False),
        sa.Column("crl_shard", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("entry", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("issuer", "serial", "revoked_at", name="pk_releases"),
        sa.ForeignKeyConstraint(["issuer"], ["issuers.id"], name="fk_releases_issuer_issuers"),
    )
    op.create_index("ix_releases_issuer_revision", "releases", ["issuer", "revision"])
    op.create_table(
        "leases",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("leased_until", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
    op.create_table(
        "proposals",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("wanted", sa.JSON, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("proposed_by", sa.Text, nullable=False),
        sa.Column("proposed_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("confirmed_by", sa.Text),
        sa.Column("confirmed_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_proposals"),
    )


def downgrade() -> None:
    for table in ("proposals", "leases", "releases", "revisions", "crls"):
        op.drop_table(table)
    op.create_table("crls", *_crl_head(), *_crl_tail())
    op.drop_index("ix_certificates_parent", "certificates")
    op.drop_index("ix_revocations_issuer_revision", "revocations")
    op.drop_index("ix_revocations_issuer_crl_shard_expires_at", "revocations")
    op.create_index("ix_revocations_issuer_expires_at", "revocations", ["issuer", "expires_at"])
    for table, columns in (
        ("certificates", ["parent"]),
        ("revocations", ["entry", "revision"]),
    ):
        for column in columns:
            op.drop_column(table, column)


def _revisions() -> None:
    op.create_table(
        "revisions",
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("issuer", name="pk_revisions"),
        sa.ForeignKeyConstraint(["issuer"], ["issuers.id"], name="fk_revisions_issuer_issuers"),
    )
    op.execute("INSERT INTO revisions (issuer, revision) SELECT id, 1 FROM issuers")


def _lineage() -> None:
    op.add_column("certificates", sa.Column("parent", sa.LargeBinary))
    op.create_index(
        "ix_certificates_parent",
        "certificates",
        ["parent"],
        sqlite_where=_HAS_PARENT,
        postgresql_where=_HAS_PARENT,
    )


def _revocations() -> None:
    # What was revoked before is of the first revision, which no list covers yet: all are published anew.
    op.add_column("revocations", sa.Column("revision", sa.BigInteger, nullable=False, server_default="1"))
    op.add_column("revocations", sa.Column("entry", sa.LargeBinary, nullable=False, server_default=""))
    _encode_entries()
    if op.get_bind().dialect.name == "postgresql":
        # What an older version would write without them is refused rather than left out of every list.
        for column in ("revision", "entry"):
            op.alter_column("revocations", column, server_default=None)
    op.drop_index("ix_revocations_issuer_expires_at", "revocations")
    op.create_index("ix_revocations_issuer_crl_shard_expires_at", "revocations", ["issuer", "crl_shard", "expires_at"])
    op.create_index("ix_revocations_issuer_revision", "revocations", ["issuer", "revision"])


def _encode_entries() -> None:
    connection = op.get_bind()
    query = sa.text(
        "SELECT issuer, serial, revoked_at, reason FROM revocations WHERE (issuer, serial) > (:issuer, :serial)"
        " ORDER BY issuer, serial LIMIT :count"
    ).bindparams(sa.bindparam("serial", type_=sa.LargeBinary))
    update = sa.text("UPDATE revocations SET entry = :entry WHERE issuer = :issuer AND serial = :serial").bindparams(
        sa.bindparam("serial", type_=sa.LargeBinary), sa.bindparam("entry", type_=sa.LargeBinary)
    )
    after = {"issuer": "", "serial": b""}
    while rows := connection.execute(query, {**after, "count": _CHUNK}).all():
        connection.execute(
            update, [{"issuer": row.issuer, "serial": bytes(row.serial), "entry": _entry(row)} for row in rows]
        )
        after = {"issuer": rows[-1].issuer, "serial": bytes(rows[-1].serial)}


def _entry(row: sa.Row[tuple[str, bytes, int, str]]) -> bytes:
    at = datetime.fromtimestamp(row.revoked_at, UTC)
    return crl.entry(Serial.from_octets(bytes(row.serial)), at, x509.ReasonFlags(row.reason))


def _crls() -> None:
    """Made anew, because the long column is to be the last one. What is in force stays, and stands for no revision."""
    published = op.get_bind().execute(sa.text("SELECT issuer, shard, number, this_update, next_update, der FROM crls"))
    rows = [{**row._mapping, "revision": 0, "entries": 0} for row in published]  # noqa: SLF001 (SQLAlchemy's documented name)
    op.drop_table("crls")
    crls = op.create_table(
        "crls",
        *_crl_head(),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("entries", sa.Integer, nullable=False),
        sa.Column("base_number", sa.BigInteger),
        sa.Column("base_update", sa.BigInteger),
        sa.Column("base_revision", sa.BigInteger),
        *_crl_tail(),
    )
    op.bulk_insert(crls, rows)


def _crl_head() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("shard", sa.Integer, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("this_update", sa.BigInteger, nullable=False),
        sa.Column("next_update", sa.BigInteger, nullable=False),
    )


def _crl_tail() -> tuple[sa.schema.SchemaItem, ...]:
    return (
        sa.Column("der", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("issuer", "shard", name="pk_crls"),
        sa.ForeignKeyConstraint(["issuer"], ["issuers.id"], name="fk_crls_issuer_issuers"),
    )
