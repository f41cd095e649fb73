"""The journal beside PostgreSQL: what was committed and nothing else, read back whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import select, text

from ca.refusals import Reason, Refused
from ca.store import agents, certificates, issuers, journal, schema, tokens
from ca.store.journal import Journal
from ca.store.tables import certificates as table
from ca.store.transaction import Connection, Database
from tests.ca.store.rows import ISSUER, NOW, agent, intent, issuer, token
from tests.postgres import Cluster


@pytest.fixture
def url(postgres: Cluster) -> str:
    made = postgres.new_database()
    schema.upgrade(made)
    database = Database(made)
    database.write(lambda connection: issuers.add(connection, issuer(ISSUER))).result()
    database.close()
    return made


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def database(url: str, directory: Path) -> Iterator[Database]:
    opened = Database(url, Journal(directory))
    yield opened
    opened.close()


def lines(directory: Path) -> list[str]:
    return [json.loads(line)[0] for file in sorted(directory.glob("*.jsonl")) for line in file.read_text().splitlines()]


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
    """As a standby that had got nothing, promoted to a timeline of its own."""
    database.write(lambda connection: connection.execute(text("DELETE FROM certificates"))).result()


def test_a_new_timeline_gets_what_it_lacks_before_anything_else(database: Database, directory: Path) -> None:
    database.write(store(1)).result()  # type: ignore[arg-type]
    forget(database)
    (directory / "timeline").write_text("00000000")
    seen = database.write(lambda connection: len(connection.execute(select(table.c.serial)).all())).result()
    assert seen == 1
    assert serials(database) == {intent(1).serial.octets}


def test_it_is_put_back_though_the_act_that_came_with_it_is_refused(database: Database, directory: Path) -> None:
    database.write(store(1)).result()  # type: ignore[arg-type]
    forget(database)
    (directory / "timeline").write_text("00000000")
    with pytest.raises(Refused):
        database.write(refuse).result()
    assert serials(database) == {intent(1).serial.octets}


def test_a_line_that_a_crash_cut_short_is_left_out(database: Database, directory: Path) -> None:
    database.write(store(1)).result()  # type: ignore[arg-type]
    forget(database)
    [file] = directory.glob("*.jsonl")
    file.write_text(file.read_text() + '["intend", {"iss')
    (directory / "timeline").write_text("00000000")
    database.write(lambda _connection: None).result()
    assert serials(database) == {intent(1).serial.octets}


def test_what_cannot_be_noted_is_not_gone_on_with(
    database: Database, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> NoReturn:
        raise OSError("no space left on device")

    monkeypatch.setattr(Journal, "write", full)
    with pytest.raises(Refused, match="journal cannot be written"):
        database.write(store(1)).result()  # type: ignore[arg-type]
    assert serials(database) == {intent(1).serial.octets}, "it is there, and recovery finishes it"


def test_a_spent_token_is_spent_again_and_nothing_else_of_it_changes(database: Database, directory: Path) -> None:
    record = token()
    database.write(lambda connection: agents.add(connection, agent(record.agent))).result()
    database.write(lambda connection: tokens.add(connection, record)).result()
    spent = {record.hash: intent(1).serial}
    assert database.write(lambda connection: tokens.spend(connection, spent, NOW)).result()
    unspend = text("UPDATE enrollment_tokens SET spent_on = NULL, spent_at = NULL")
    database.write(lambda connection: connection.execute(unspend)).result()
    (directory / "timeline").write_text("00000000")
    later = {record.hash: intent(2).serial}
    assert not database.write(lambda connection: tokens.spend(connection, later, NOW + timedelta(1))).result()
    with database.read() as connection:
        assert tokens.find(connection, [record.hash])[record.hash].spent_on == intent(1).serial


def test_old_files_are_put_away(directory: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_LARGEST", 10)
    monkeypatch.setattr(journal, "_KEPT", -1.0)
    for number in (1, 2, 3):
        database.write(store(number)).result()  # type: ignore[arg-type]
    assert len(lines(directory)) == 1


def test_sqlite_has_none(tmp_path: Path, directory: Path) -> None:
    url = f"sqlite:///{tmp_path / 'remit.db'}"
    schema.upgrade(url)
    database = Database(url, Journal(directory))
    database.write(lambda connection: issuers.add(connection, issuer(ISSUER))).result()
    database.write(store(1)).result()  # type: ignore[arg-type]
    database.close()
    assert not directory.exists()
