"""What Alembic runs: the migrations, over the connection that `ca.store.schema` hands it."""

from __future__ import annotations

from alembic import context

from ca.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_type=True,
    # SQLite changes a table by copying it.
    render_as_batch=True,
)
context.run_migrations()
