"""Identities of agents, children and their lines, proofs that were spent, authorization details by digest."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_HAS_IDENTITY = sa.text("identity_subject IS NOT NULL")
_HAS_PARENT = sa.text("parent IS NOT NULL")
_HAS_LINE = sa.text("line IS NOT NULL")


def upgrade() -> None:
    for column in ("parent", "identity_issuer", "identity_subject"):
        op.add_column("agents", sa.Column(column, sa.Text))
    op.create_index(
        "ix_agents_identity",
        "agents",
        ["identity_issuer", "identity_subject"],
        unique=True,
        sqlite_where=_HAS_IDENTITY,
        postgresql_where=_HAS_IDENTITY,
    )
    op.add_column("certificates", sa.Column("line", sa.LargeBinary))
    op.create_index(
        "ix_certificates_line",
        "certificates",
        ["line", "not_after"],
        sqlite_where=_HAS_LINE,
        postgresql_where=_HAS_LINE,
    )
    op.create_index(
        "ix_certificates_children",
        "certificates",
        ["not_after"],
        sqlite_where=_HAS_PARENT,
        postgresql_where=_HAS_PARENT,
    )
    op.create_table(
        "spent_proofs",
        sa.Column("sha256", sa.LargeBinary, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_spent_proofs"),
    )
    op.create_index("ix_spent_proofs_expires_at", "spent_proofs", ["expires_at"])
    op.create_table(
        "details",
        sa.Column("sha256", sa.LargeBinary, nullable=False),
        sa.Column("items", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_details"),
    )


def downgrade() -> None:
    op.drop_table("details")
    op.drop_table("spent_proofs")
    op.drop_index("ix_certificates_children", "certificates")
    op.drop_index("ix_certificates_line", "certificates")
    op.drop_column("certificates", "line")
    op.drop_index("ix_agents_identity", "agents")
    for column in ("parent", "identity_issuer", "identity_subject"):
        op.drop_column("agents", column)
