"""Case 44, its migrating half: PostgreSQL, with others at work on the same database."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from ca.store import agents, schema
from ca.store.transaction import Database, open_engine
from tests.ca.store.rows import agent
from tests.postgres import Cluster

STARTED_TOGETHER = 4


def revision(url: str) -> str | None:
    engine = open_engine(url, writable=False)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    engine.dispose()
    return found


def upgrade_to(url: str, to: str) -> None:
    """What the version before this one would have left."""
    engine = open_engine(url, writable=True)
    with engine.begin() as connection:
        command.upgrade(schema._config(connection), to)
    engine.dispose()


def test_replicas_that_migrate_at_once_do_it_once(postgres: Cluster) -> None:
    url = postgres.new_database()
    barrier = threading.Barrier(STARTED_TOGETHER)

    def start(_number: int) -> None:
        barrier.wait()
        schema.upgrade(url)

    with ThreadPoolExecutor(STARTED_TOGETHER) as pool:
        list(pool.map(start, range(STARTED_TOGETHER)))
    database = Database(url)
    with database.read() as connection:
        assert schema.is_current(connection)
    database.close()


def test_a_replica_writes_on_while_another_migrates(postgres: Cluster) -> None:
    url = postgres.new_database()
    upgrade_to(url, "0002")
    old = Database(url)
    done = threading.Event()
    names: list[str] = []

    def serve() -> None:
        while not done.is_set() or not names:
            name = f"bot-{len(names)}"
            old.write(lambda connection, name=name: agents.add(connection, agent(name))).result()  # type: ignore[misc] # one name a turn
            names.append(name)

    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(serve)
        schema.upgrade(url)
        done.set()
        serving.result()
    with old.read() as connection:
        assert schema.is_current(connection)
        assert len(agents.page(connection, None, None, len(names) + 1)) == len(names) > 0
    old.close()


def test_a_migration_that_cannot_have_a_table_gives_up_and_leaves_everything(
    postgres: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.new_database()
    upgrade_to(url, "0002")
    monkeypatch.setattr(schema, "_PATIENCE", text("SET LOCAL lock_timeout = '100ms'"))
    engine = open_engine(url, writable=True)
    with engine.begin() as holder:
        holder.execute(text("LOCK TABLE certificates IN ROW EXCLUSIVE MODE"))
        with pytest.raises(OperationalError, match="lock timeout"):
            schema.upgrade(url)
    engine.dispose()
    assert revision(url) == "0002"
    schema.upgrade(url)
    assert revision(url) != "0002"
