"""What upkeep and start-up look for must not cost more with every certificate ever issued: three indexes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_UNFINISHED = sa.text("x5t IS NULL")


def upgrade() -> None:
    op.create_index("ix_certificates_issuer_kind_id", "certificates", ["issuer", "kind", "id"])
    op.create_index(
        "ix_certificates_unfinished", "certificates", ["id"], sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED
    )
    op.create_index("ix_enrollment_tokens_expires_at", "enrollment_tokens", ["expires_at"])


def downgrade() -> None:
    op.drop_index("ix_enrollment_tokens_expires_at", "enrollment_tokens")
    op.drop_index("ix_certificates_unfinished", "certificates")
    op.drop_index("ix_certificates_issuer_kind_id", "certificates")
