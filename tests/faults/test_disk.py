"""The disk under SQLite: full, busy, torn by a loss of power. Nothing that was answered is ever missing."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from ca.authority.issuance import Issued
from ca.refusals import Reason, Refused
from ca.store import certificates, transaction
from ca.store.transaction import Connection, Database
from tests.ca.authority.stage import Stage, new_key


@pytest.fixture
def ready(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    made.agent()
    made.task()
    yield made
    made.close()


def on_the_writer(stage: Stage, statement: str) -> None:
    stage.database.write(lambda connection: connection.exec_driver_sql(statement)).result()


def test_a_full_disk_signs_nothing_and_room_mends_it(ready: Stage) -> None:
    """Case 42: SQLite's own SQLITE_FULL, at its limit of pages."""
    token, key = ready.token(), new_key()
    pages = ready.database.write(lambda connection: connection.exec_driver_sql("PRAGMA page_count").scalar()).result()
    on_the_writer(ready, f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Refused) as caught:
        # What is free on pages that are there is used up first.
        for _ in range(200):
            ready.enrolled()
    assert caught.value.reason is Reason.UNAVAILABLE
    assert len(ready.signer.signed) == len(ready.issued()) + len(ready.unfinished()), "what was signed is known"
    signed = len(ready.signer.signed)
    with pytest.raises(Refused):
        ready.enrol(token, key)
    assert len(ready.signer.signed) == signed, "no signature after the first commit that failed"
    on_the_writer(ready, "PRAGMA max_page_count = 1000000")
    assert ready.enrol(token, key)


def test_a_database_that_another_holds_is_waited_for_and_then_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 42: SQLITE_BUSY beyond the time that is waited."""
    monkeypatch.setattr(transaction, "_BUSY_MILLISECONDS", 50)
    stage = Stage(tmp_path)
    stage.agent()
    stage.task()
    token, key = stage.token(), new_key()
    other = sqlite3.connect(tmp_path / "remit.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Refused) as caught:
        stage.enrol(token, key)
    assert caught.value.reason is Reason.UNAVAILABLE
    assert stage.signer.signed == []
    other.execute("ROLLBACK")
    other.close()
    assert stage.enrol(token, key)
    stage.close()


def test_a_database_that_cannot_be_written_signs_nothing(ready: Stage) -> None:
    """Case 42: read-only."""
    token, key = ready.token(), new_key()
    on_the_writer(ready, "PRAGMA query_only = ON")
    with pytest.raises(Refused) as caught:
        ready.enrol(token, key)
    assert caught.value.reason is Reason.UNAVAILABLE
    assert ready.signer.signed == []
    ready.database._writer.dispose()  # a new connection, as after a mount that can be written again
    assert ready.enrol(token, key)


@pytest.mark.parametrize("seed", range(3))
def test_after_a_loss_of_power_all_that_was_answered_is_there(ready: Stage, tmp_path: Path, seed: int) -> None:
    """Case 3: the log is cut at a random octet, with rubbish behind it, as a disk may leave what was not synced.

    What the log held when an answer left had been synced (`test_transaction` holds every connection to FULL), so
    each certificate is there at every cut behind its answer; and what a cut leaves half is not there at all.
    """
    # The switch is the connection's: the log is never folded into the database during the test.
    on_the_writer(ready, "PRAGMA wal_autocheckpoint = 0")
    log, chance = tmp_path / "remit.db-wal", random.Random(seed)
    answered: list[tuple[Issued, int]] = []
    for _ in range(12):
        issued = ready.enrolled()
        answered.append((issued, log.stat().st_size))
    contents = log.read_bytes()
    for number in range(20):
        cut = chance.randrange(answered[0][1], len(contents) + 1)
        copy = tmp_path / f"after-{number}"
        copy.mkdir()
        shutil.copy(tmp_path / "remit.db", copy / "remit.db")
        (copy / "remit.db-wal").write_bytes(contents[:cut] + chance.randbytes(chance.randrange(9000)))
        _check_after(copy, [issued for issued, size in answered if size <= cut])


def _check_after(copy: Path, must_be_there: list[Issued]) -> None:
    database = Database(f"sqlite:///{copy / 'remit.db'}")
    with database.read() as connection:
        for issued in must_be_there:
            record = certificates.by_serial(connection, issued.intent.serial)
            assert record is not None
            assert record.der == issued.der
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    database.close()


def test_a_log_that_is_rubbish_loses_nothing_that_was_folded_in(ready: Stage, tmp_path: Path) -> None:
    """Case 42: a corrupt log is not believed; what was checkpointed stands, and work goes on."""
    issued = ready.enrolled()
    on_the_writer_outside(ready, "PRAGMA wal_checkpoint(TRUNCATE)")
    ready.close()
    (tmp_path / "remit.db-wal").write_bytes(random.Random(1).randbytes(50_000))
    (tmp_path / "remit.db-shm").unlink(missing_ok=True)
    database = Database(ready.url)
    ready.database, ready.authority = database, ready.over(database)
    assert ready.record(issued).der == issued.der
    assert ready.enrolled()


def on_the_writer_outside(stage: Stage, statement: str) -> None:
    """Outside of a transaction, which a checkpoint needs."""
    connection = sqlite3.connect(stage.url.removeprefix("sqlite:///"))
    connection.execute(statement)
    connection.close()


def test_a_commit_that_fails_once_fails_its_batch_and_no_other(ready: Stage) -> None:
    def fail(_connection: Connection) -> None:
        raise OSError("input/output error")

    event.listen(ready.database._writer, "commit", fail, once=True)
    with pytest.raises(Refused):
        ready.enrolled()
    assert ready.enrolled()
