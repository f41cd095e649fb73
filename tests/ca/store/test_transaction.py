from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NoReturn

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from ca.refusals import Reason, Refused
from ca.store import agents, schema, transaction
from ca.store.transaction import Connection, Database, open_engine
from tests.ca.store.rows import TENANT, agent, written

WAIT = 10.0


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """What is looked at here is SQLite's own: its locks, its log, its pragmas."""
    url = f"sqlite:///{tmp_path / 'remit.db'}"
    schema.upgrade(url)
    return url


def names(database: Database) -> list[str]:
    with database.read() as connection:
        return [record.agent.id for record in agents.page(connection, TENANT, None, 1000)]


class Held:
    """Holds the writer in one act, so that what comes after waits together."""

    def __init__(self, database: Database) -> None:
        self._go, self._in = threading.Event(), threading.Event()
        database.write(self._act)
        assert self._in.wait(WAIT)

    def _act(self, _connection: Connection) -> None:
        self._in.set()
        assert self._go.wait(WAIT)

    def release(self) -> None:
        self._go.set()


def refuse(_connection: Connection) -> NoReturn:
    raise Refused(Reason.FORBIDDEN, "No.")


def add(name: str) -> Any:
    return lambda connection: agents.add(connection, agent(name))


PRAGMAS = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}


@pytest.mark.parametrize(("pragma", "value"), PRAGMAS.items())
@pytest.mark.parametrize("writable", [True, False], ids=["writer", "reader"])
def test_every_connection_is_set_up(url: str, writable: bool, pragma: str, value: object) -> None:
    """Case 3: FULL on every pooled connection, not on the first alone."""
    engine = open_engine(url, writable=writable)
    held = [engine.connect() for _ in range(1 if writable else 16)]
    assert [one.execute(text(f"PRAGMA {pragma}")).scalar_one() for one in held] == [value] * len(held)
    for one in held:
        one.close()
    engine.dispose()


def test_a_connection_made_anew_is_set_up_too(url: str) -> None:
    engine = open_engine(url, writable=True)
    for _ in range(2):
        with engine.connect() as connection:
            assert connection.execute(text("PRAGMA synchronous")).scalar_one() == 2
            connection.invalidate()
    engine.dispose()


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO operators VALUES ('evil', 'admin', 0)",
        "UPDATE issuers SET crl_number = 0",
        "DELETE FROM revocations",
        "DROP TABLE audit",
        "CREATE TABLE x (y)",
    ],
)
def test_a_reader_cannot_write(database: Database, statement: str) -> None:
    with database.read() as connection, pytest.raises(OperationalError, match="readonly"):
        connection.execute(text(statement))


def test_a_reader_keeps_one_view(database: Database) -> None:
    with database.read() as connection:
        before = agents.page(connection, None, None, 10)
        written(database, add("late"))
        assert agents.page(connection, None, None, 10) == before == []
    assert names(database) == ["late"]


def test_the_result_of_an_act_is_there_after_the_commit(database: Database) -> None:
    assert written(database, lambda connection: agents.add(connection, agent()) or "done") == "done"
    assert names(database) == ["bot"]


def test_what_waits_together_shares_one_commit(database: Database) -> None:
    commits: list[object] = []
    event.listen(database._writer, "commit", commits.append)
    held = Held(database)
    futures = [database.write(add(f"a{i}")) for i in range(20)]
    held.release()
    for future in futures:
        future.result(WAIT)
    assert len(commits) == 2, "one for the act that held the writer, one for the twenty"
    assert len(names(database)) == 20


def test_one_refused_act_takes_nothing_of_the_others(database: Database) -> None:
    held = Held(database)

    def adds_and_refuses(connection: Connection) -> NoReturn:
        agents.add(connection, agent("refused"))
        refuse(connection)

    futures: list[Future[Any]] = [
        database.write(act) for act in (add("before"), adds_and_refuses, add("before"), refuse, add("after"))
    ]
    held.release()
    outcomes = [future.exception(WAIT) for future in futures]
    reasons = [outcome.reason if isinstance(outcome, Refused) else outcome for outcome in outcomes]
    assert reasons == [None, Reason.FORBIDDEN, Reason.CONFLICT, Reason.FORBIDDEN, None]
    assert names(database) == ["after", "before"]


def test_a_fault_of_the_callers_is_the_callers(database: Database) -> None:
    held = Held(database)
    broken = database.write(lambda _: 1 // 0)
    sound = database.write(add("sound"))
    held.release()
    assert isinstance(broken.exception(WAIT), ZeroDivisionError)
    assert sound.exception(WAIT) is None


def test_a_reference_to_nothing_is_a_conflict(database: Database) -> None:
    def act(connection: Connection) -> None:
        connection.execute(text("INSERT INTO revocations VALUES ('nobody', x'01', 0, 0, 'superseded', 0, 1, x'')"))

    error = database.write(act).exception(WAIT)
    assert isinstance(error, Refused)
    assert error.reason is Reason.CONFLICT
    assert "nobody" not in error.detail


def test_a_failed_commit_stores_nothing_and_says_so_to_all(database: Database) -> None:
    """Cases 2 and 42: the disk is full, or gone, at the last moment."""
    held = Held(database)
    futures = [database.write(add(f"a{i}")) for i in range(3)]
    refused = database.write(refuse)

    @event.listens_for(database._writer, "commit", once=True)
    def _ignore_the_held_one(_connection: Connection) -> None:
        event.listen(database._writer, "commit", _full, once=True)

    held.release()
    errors = [future.exception(WAIT) for future in futures]
    assert [error.reason for error in errors if isinstance(error, Refused)] == [Reason.UNAVAILABLE] * 3
    assert all(isinstance(error and error.__cause__, sqlite3.OperationalError) for error in errors)
    refusal = refused.exception(WAIT)
    assert isinstance(refusal, Refused)
    assert refusal.reason is Reason.FORBIDDEN
    assert names(database) == []
    written(database, add("later"))
    assert names(database) == ["later"], "the writer outlives it"


def _full(_connection: Connection) -> NoReturn:
    raise sqlite3.OperationalError("database or disk is full")


def test_a_database_that_fails_under_an_act_stores_nothing_of_the_batch(database: Database) -> None:
    def fails(connection: Connection) -> None:
        connection.execute(text("INSERT INTO no_such_table VALUES (1)"))

    held = Held(database)
    futures = [database.write(act) for act in (add("one"), fails, add("two"))]
    held.release()
    errors = [future.exception(WAIT) for future in futures]
    assert [error.reason for error in errors if isinstance(error, Refused)] == [Reason.UNAVAILABLE] * 3
    assert names(database) == []


def test_a_locked_database_is_unavailable(database: Database) -> None:
    path = database.url.removeprefix("sqlite:///")
    written(database, lambda connection: connection.execute(text("PRAGMA busy_timeout = 50")))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    error = database.write(add("bot")).exception(WAIT)
    other.execute("ROLLBACK")
    other.close()
    assert isinstance(error, Refused)
    assert error.reason is Reason.UNAVAILABLE
    assert names(database) == []


def test_too_many_that_wait_are_refused_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction, "MAX_WAITING", 5)
    database = Database(url)
    held = Held(database)
    futures = [database.write(add(f"a{i}")) for i in range(8)]
    refused = [future for future in futures if future.done()]
    assert len(refused) == 3
    assert all(isinstance(e := one.exception(), Refused) and e.reason is Reason.UNAVAILABLE for one in refused)
    held.release()
    database.close()
    assert [future.exception() for future in futures if future not in refused] == [None] * 5


def test_more_than_a_batch_is_stored_in_several(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction, "MAX_BATCH", 3)
    held = Held(database)
    futures = [database.write(add(f"a{i}")) for i in range(10)]
    held.release()
    assert [future.exception(WAIT) for future in futures] == [None] * 10
    assert len(names(database)) == 10


def test_closing_finishes_what_waits(url: str) -> None:
    database = Database(url)
    held = Held(database)
    futures = [database.write(add(f"a{i}")) for i in range(5)]
    closing = threading.Thread(target=database.close)
    closing.start()
    held.release()
    closing.join(WAIT)
    assert [future.exception(0) for future in futures] == [None] * 5


def test_many_threads_write_and_nothing_is_lost(database: Database) -> None:
    def work(prefix: int) -> None:
        for i in range(20):
            written(database, add(f"t{prefix}-{i}"))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(names(database)) == 160


def test_what_was_acknowledged_is_in_the_file(url: str, tmp_path: Path) -> None:
    """Case 3 in small: another process that opens the file and its log sees every acknowledged act."""
    database = Database(url)
    for i in range(5):
        written(database, add(f"a{i}"))
    copy = tmp_path / "copy"
    copy.mkdir()
    for part in ("remit.db", "remit.db-wal"):
        (copy / part).write_bytes((tmp_path / part).read_bytes())
    database.close()
    found = sqlite3.connect(copy / "remit.db")
    assert found.execute("SELECT count(*) FROM agents").fetchone() == (5,)
    assert found.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    found.close()


def test_a_reader_of_postgresql_cannot_write_and_keeps_one_view() -> None:
    """Without a server: what each of its transactions will be opened with."""
    url = "postgresql+psycopg://nobody@192.0.2.1/remit"
    reader, writer = open_engine(url, writable=False), open_engine(url, writable=True)
    options = reader.get_execution_options()
    assert options["postgresql_readonly"] is True
    assert options["isolation_level"] == "REPEATABLE READ"
    assert not writer.get_execution_options()
    assert writer.pool.size() == 1  # type: ignore[attr-defined]
