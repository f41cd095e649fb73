from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from ca.store import agents, schema
from ca.store.tables import metadata
from ca.store.transaction import Connection, Database, open_engine
from tests.ca.store.rows import agent, written


def dump(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    lines = list(connection.iterdump())
    connection.close()
    return lines


def test_the_migrations_make_the_tables(url: str) -> None:
    engine = open_engine(url, writable=False)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_upgrading_again_does_nothing(url: str, tmp_path: Path) -> None:
    database = Database(url)
    written(database, lambda connection: agents.add(connection, agent()))
    database.close()
    before = dump(tmp_path / "remit.db")
    schema.upgrade(url)
    assert dump(tmp_path / "remit.db") == before
    assert any("Pays the bills." in line for line in before)


def test_a_new_database_is_current_and_an_empty_or_foreign_one_is_not(url: str, tmp_path: Path) -> None:
    def current(where: str) -> bool:
        engine = open_engine(where, writable=True)
        with engine.connect() as connection:
            answer = schema.is_current(connection)
        engine.dispose()
        return answer

    assert current(url)
    assert not current(f"sqlite:///{tmp_path / 'empty.db'}")
    engine = open_engine(url, writable=True)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'of tomorrow'"))
    engine.dispose()
    assert not current(url)


def test_an_upgrade_that_dies_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 44: all migrations are one transaction."""
    url = f"sqlite:///{tmp_path / 'half.db'}"
    monkeypatch.setattr("ca.store.schema.command.upgrade", _upgrade_and_die)
    with pytest.raises(RuntimeError):
        schema.upgrade(url)
    connection = sqlite3.connect(tmp_path / "half.db")
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    connection.close()
    monkeypatch.undo()
    schema.upgrade(url)


def _upgrade_and_die(config: object, revision: str) -> None:
    connection: Connection = config.attributes["connection"]  # type: ignore[attr-defined]
    metadata.create_all(connection)
    raise RuntimeError(f"killed on the way to {revision}")


def test_there_is_one_line_of_migrations() -> None:
    scripts = ScriptDirectory(str(schema._MIGRATIONS))
    assert len(scripts.get_heads()) == 1
    assert len(scripts.get_bases()) == 1


def test_each_migration_can_be_taken_back(url: str, tmp_path: Path) -> None:
    """Case 44: a rolling upgrade that has to be undone."""
    engine = open_engine(url, writable=True)
    with engine.begin() as connection:
        command.downgrade(schema._config(connection), "base")
    engine.dispose()
    assert not any("CREATE TABLE" in line and "alembic_version" not in line for line in dump(tmp_path / "remit.db"))
    schema.upgrade(url)
