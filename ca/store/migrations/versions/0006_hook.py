"""Relying parties, and the tokens that they bound to certificates."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_HAS_JKT = sa.text("jkt IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "relying_parties",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("issuer", sa.Text),
        sa.Column("tenants", sa.JSON),
        sa.Column("sees_reasons", sa.Boolean, nullable=False),
        sa.Column("key_sha256", sa.LargeBinary),
        sa.PrimaryKeyConstraint("name", name="pk_relying_parties"),
        sa.ForeignKeyConstraint(["name"], ["operators.name"], name="fk_relying_parties_name_operators"),
        sa.UniqueConstraint("key_sha256", name="uq_relying_parties_key_sha256"),
    )
    op.create_table(
        "bindings",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("party", sa.Text, nullable=False),
        sa.Column("x5t", sa.LargeBinary, nullable=False),
        sa.Column("jkt", sa.LargeBinary),
        sa.Column("issuer", sa.Text),
        sa.Column("client_id", sa.Text),
        sa.Column("grant_type", sa.Text),
        sa.Column("subject", sa.JSON),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_bindings"),
    )
    op.create_index("ix_bindings_x5t", "bindings", ["x5t"])
    op.create_index("ix_bindings_jkt", "bindings", ["jkt"], sqlite_where=_HAS_JKT, postgresql_where=_HAS_JKT)
    op.create_index("ix_bindings_expires_at", "bindings", ["expires_at"])


def downgrade() -> None:
    op.drop_table("bindings")
    op.drop_table("relying_parties")
