"""The schema's version: brings a database up to date, and says whether it is."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from ca.store.transaction import open_engine

_MIGRATIONS = Path(__file__).parent / "migrations"

# "remit" in ASCII: nobody else who uses this database takes an advisory lock of that number.
_TURN = text(f"SELECT pg_advisory_xact_lock({int.from_bytes(b'remit')})")
_PATIENCE = text("SET LOCAL lock_timeout = '10s'")


def upgrade(url: str) -> None:
    """Runs every migration that this database has not seen, in one transaction; running it again does nothing.

    On PostgreSQL several may be started at once: one migrates and the others find it done. One that waits
    10 s for a table that somebody holds gives up and leaves everything as it was, so that those who
    issue meanwhile never queue behind it for longer.
    """
    engine = open_engine(url, writable=True)
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(_TURN)
                connection.execute(_PATIENCE)
            command.upgrade(_config(connection), "head")
    finally:
        engine.dispose()


def is_current(connection: Connection) -> bool:
    """Whether the database has exactly the schema that this code was written for."""
    newest = ScriptDirectory(str(_MIGRATIONS)).get_current_head()
    return MigrationContext.configure(connection).get_current_revision() == newest


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config
