"""The journal beside PostgreSQL: what was committed and nothing else, read back whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from io import FileIO
from pathlib import Path
from typing import Any, NoReturn

import pytest
from sqlalchemy import delete, select, text

from ca.identifiers import Thumbprint
from ca.policy.ceiling import TaskState
from ca.refusals import Reason, Refused
from ca.store import (
    agents,
    audit,
    certificates,
    idempotency,
    issuers,
    journal,
    lost,
    schema,
    tasks,
    tokens,
)
from ca.store.idempotency import Answered
from ca.store.journal import Journal
from ca.store.lost import Note
from ca.store.tables import certificates as table
from ca.store.transaction import Connection, Database
from tests.ca.store.rows import ISSUER, NOW, TASK, TENANT, agent, intent, issuer, revoke, task, token, x5t
from tests.postgres import Cluster


def clock() -> datetime:
    return NOW


def new_database(postgres: Cluster, **changes: Any) -> str:
    made = postgres.migrated_database()
    database = Database(made)
    database.write(lambda connection: issuers.add(connection, replace(issuer(ISSUER), **changes))).result()
    database.close()
    return made


@pytest.fixture
def url(postgres: Cluster) -> str:
    return new_database(postgres)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def database(url: str, directory: Path) -> Iterator[Database]:
    opened = Database(url, Journal(directory, clock))
    yield opened
    opened.close()


def lines(directory: Path) -> list[str]:
    return [
        json.loads(line)[0] for file in sorted(directory.glob("*/*.jsonl")) for line in file.read_text().splitlines()
    ]


def store(number: int) -> object:
    return lambda connection: certificates.intend(connection, [intent(number)])


def refuse(connection: Connection) -> NoReturn:
    certificates.intend(connection, [intent(99)])
    raise Refused(Reason.FORBIDDEN, "No.")


def serials(database: Database) -> set[bytes]:
    with database.read() as connection:
        return set(connection.execute(select(table.c.serial)).scalars())


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "alone"])
def test_what_was_undone_is_not_in_it(database: Database, directory: Path, together: bool) -> None:
    acts = [store(1), refuse, store(2)]
    futures = database.write_together(acts) if together else [database.write(act) for act in acts]  # type: ignore[arg-type]
    assert isinstance(futures[1].exception(), Refused)
    assert all(future.exception() is None for future in (futures[0], futures[2]))
    assert lines(directory) == ["intend", "intend"]


def forget(database: Database) -> None:
    """As a standby that had got nothing."""
    database.write(lambda connection: connection.execute(text("DELETE FROM certificates"))).result()


@pytest.fixture
def reopened(url: str, directory: Path) -> Iterator[Database]:
    """As after a restart: its first connection is new."""
    opened = Database(url, Journal(directory, clock))
    yield opened
    opened.close()


def test_a_new_connection_gets_what_is_lacking_before_anything_else(database: Database, reopened: Database) -> None:
    database.write(store(1)).result()  # type: ignore[arg-type]
    forget(database)
    seen = reopened.write(lambda connection: len(connection.execute(select(table.c.serial)).all())).result()
    assert seen == 1
    assert serials(database) == {intent(1).serial.octets}


def test_so_does_a_new_timeline_on_an_old_connection(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pooler keeps the connection that was opened through it."""
    database.write(store(1)).result()  # type: ignore[arg-type]
    forget(database)
    database.write(lambda _connection: None).result()
    assert serials(database) == set()
    monkeypatch.setattr(journal, "_TIMELINE", "SELECT '00000002'")
    database.write(lambda _connection: None).result()
    assert serials(database) == {intent(1).serial.octets}


def test_the_signature_comes_back_with_the_intent_and_the_trail_says_so(database: Database, reopened: Database) -> None:
    one = intent(1)
    database.write(store(1)).result()  # type: ignore[arg-type]
    result = certificates.Result(one, b"signature", x5t(one))
    assert database.write(lambda connection: certificates.record(connection, [result])).result() == {one.serial}
    assert revoke(database, one) == 1
    database.write(lambda connection: connection.execute(text("DELETE FROM revocations"))).result()
    forget(database)
    reopened.write(lambda _connection: None).result()
    with database.read() as connection:
        found = certificates.by_serial(connection, one.serial)
        entries = audit.everything(connection)
    assert found is not None
    assert (found.x5t, found.reason) == (x5t(one), "superseded")
    assert [(entry.action, entry.serial, entry.detail["what"]) for entry in entries] == [
        ("database.restore", str(one.serial), what) for what in ("intend", "record", "revoke")
    ]


def test_only_the_tail_is_looked_at_and_all_of_it_comes_back(
    database: Database, reopened: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_STRETCH", 2)
    monkeypatch.setattr(journal, "_LARGEST", 2000)
    for number in range(12):
        database.write(store(number)).result()  # type: ignore[arg-type]
    gone = [intent(number).serial.octets for number in range(5, 12)]
    database.write(lambda connection: connection.execute(delete(table).where(table.c.serial.in_(gone)))).result()
    looked: list[int] = []
    missing = lost.missing

    def counted(connection: Connection, notes: Sequence[Note], now: datetime) -> list[Note]:
        looked.append(len(notes))
        return missing(connection, notes, now)

    monkeypatch.setattr(lost, "missing", counted)
    reopened.write(lambda _connection: None).result()
    assert serials(database) == {intent(number).serial.octets for number in range(12)}
    assert 7 <= sum(looked) < 12


def test_each_process_has_a_tail_of_its_own(url: str, directory: Path, reopened: Database) -> None:
    for number in (1, 2):
        process = Database(url, Journal(directory, clock))
        process.write(store(number)).result()  # type: ignore[arg-type]
        process.close()
    forget(reopened)
    for number in (1, 2):
        assert intent(number).serial.octets not in serials(reopened)
    later = Database(url, Journal(directory, clock))
    later.write(lambda _connection: None).result()
    later.close()
    assert serials(reopened) == {intent(1).serial.octets, intent(2).serial.octets}


def test_a_task_that_was_ended_is_ended_again(database: Database, reopened: Database) -> None:
    database.write(lambda connection: tasks.add(connection, task())).result()
    ended = database.write(lambda connection: tasks.end(connection, TENANT, TASK, TaskState.CANCELLED, NOW)).result()
    assert ended
    undone = text("UPDATE tasks SET state = 'running', ended_at = NULL")
    database.write(lambda connection: connection.execute(undone)).result()
    reopened.write(lambda _connection: None).result()
    with database.read() as connection:
        found = tasks.find(connection, TENANT, TASK)
    assert found is not None
    assert (found.task.state, found.ended_at) == (TaskState.CANCELLED, NOW)


def test_what_lapsed_is_not_missed(database: Database, url: str, directory: Path) -> None:
    answered = Answered(Thumbprint.of(b"key"), Thumbprint.of(b"request"), intent(1).serial, NOW)
    database.write(lambda connection: idempotency.remember(connection, [answered], NOW)).result()
    later = NOW + timedelta(seconds=1)
    database.write(lambda connection: idempotency.forget(connection, later)).result()
    reopened = Database(url, Journal(directory, lambda: later))
    reopened.write(lambda _connection: None).result()
    reopened.close()
    with database.read() as connection:
        assert idempotency.find(connection, [answered.key], NOW) == {}
        assert audit.everything(connection) == []


def test_another_authority_gets_nothing_of_it(database: Database, postgres: Cluster, directory: Path) -> None:
    """A home whose database is not the one that it had."""
    database.write(store(1)).result()  # type: ignore[arg-type]
    other = new_database(postgres, certificate=b"of another root")
    reopened = Database(other, Journal(directory, clock))
    reopened.write(lambda _connection: None).result()
    assert serials(reopened) == set()
    reopened.close()


def test_it_is_put_back_though_the_act_that_came_with_it_is_refused(database: Database, reopened: Database) -> None:
    database.write(store(1)).result()  # type: ignore[arg-type]
    forget(database)
    with pytest.raises(Refused):
        reopened.write(refuse).result()
    assert serials(database) == {intent(1).serial.octets}


@pytest.mark.parametrize("damage", ['["intend", {"iss', '\0\0\0\n["intend", {"issuer"'], ids=["cut", "zeros"])
def test_a_line_that_a_crash_cut_short_is_left_out(
    database: Database, reopened: Database, directory: Path, damage: str
) -> None:
    database.write(store(1)).result()  # type: ignore[arg-type]
    forget(database)
    [file] = directory.glob("*/*.jsonl")
    file.write_text(file.read_text() + damage)
    reopened.write(lambda _connection: None).result()
    assert serials(database) == {intent(1).serial.octets}


def test_nothing_follows_the_half_of_a_line(
    database: Database, reopened: Database, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full for a moment, and takes half."""
    database.write(store(1)).result()  # type: ignore[arg-type]
    whole = FileIO.write

    class Full(FileIO):
        def write(self, text: Any) -> int:
            return whole(self, memoryview(text)[:20])

    monkeypatch.setattr(journal, "_LARGEST", 0)
    monkeypatch.setattr(journal, "FileIO", Full)
    with pytest.raises(Refused, match="journal cannot be written"):
        database.write(store(2)).result()  # type: ignore[arg-type]
    monkeypatch.undo()
    database.write(store(3)).result()  # type: ignore[arg-type]
    forget(database)
    reopened.write(lambda _connection: None).result()
    assert serials(database) == {intent(1).serial.octets, intent(3).serial.octets}


def test_what_cannot_be_noted_is_not_gone_on_with(
    database: Database, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> NoReturn:
        raise OSError("no space left on device")

    monkeypatch.setattr(Journal, "write", full)
    with pytest.raises(Refused, match="journal cannot be written"):
        database.write(store(1)).result()  # type: ignore[arg-type]
    assert serials(database) == {intent(1).serial.octets}, "it is there, and recovery finishes it"


def test_a_spent_token_is_spent_again_and_nothing_else_of_it_changes(database: Database, reopened: Database) -> None:
    record = token()
    database.write(lambda connection: agents.add(connection, agent(record.agent))).result()
    database.write(lambda connection: tokens.add(connection, record)).result()
    spent = {record.hash: intent(1).serial}
    assert database.write(lambda connection: tokens.spend(connection, spent, NOW)).result()
    unspend = text("UPDATE enrollment_tokens SET spent_on = NULL, spent_at = NULL")
    database.write(lambda connection: connection.execute(unspend)).result()
    later = {record.hash: intent(2).serial}
    assert not reopened.write(lambda connection: tokens.spend(connection, later, NOW + timedelta(1))).result()
    with database.read() as connection:
        assert tokens.find(connection, [record.hash])[record.hash].spent_on == intent(1).serial


@pytest.mark.parametrize(("limit", "value"), [("_KEPT", -1.0), ("_ALL", 0)], ids=["too old", "too much"])
def test_old_files_are_put_away(
    directory: Path, database: Database, monkeypatch: pytest.MonkeyPatch, limit: str, value: float
) -> None:
    monkeypatch.setattr(journal, "_LARGEST", 10)
    monkeypatch.setattr(journal, limit, value)
    for number in (1, 2, 3):
        database.write(store(number)).result()  # type: ignore[arg-type]
    assert len(lines(directory)) == 1


def test_sqlite_has_none(tmp_path: Path, directory: Path) -> None:
    url = f"sqlite:///{tmp_path / 'remit.db'}"
    schema.upgrade(url)
    database = Database(url, Journal(directory, clock))
    database.write(lambda connection: issuers.add(connection, issuer(ISSUER))).result()
    database.write(store(1)).result()  # type: ignore[arg-type]
    database.close()
    assert not directory.exists()
