"""What a database may have lost or had altered: no list forgets what the one before it said."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from ca.authority.publisher import Publisher
from ca.refusals import Reason, Refused
from ca.store import crls
from ca.store.crls import Heading
from ca.store.transaction import Database
from tests.ca.authority.stage import Stage, run

SHARDS = 3


@pytest.fixture
def ready(ready: Stage) -> Stage:
    """With several shards, each with something in it, all published."""
    ready.authority = ready.over(ready.database, crl_shards=SHARDS)
    filled: set[int] = set()
    while len(filled) < SHARDS:
        issued = ready.enrolled()
        ready.revoke(issued)
        filled.add(issued.intent.crl_shard)
    run(Publisher(ready.authority, "ours").keep())
    return ready


def headings(stage: Stage) -> dict[int, Heading]:
    with stage.database.read() as connection:
        return {one.shard: one for one in crls.headings(connection, "issuing-1")}


def listed(stage: Stage, shard: int) -> set[bytes]:
    one = stage.in_force(shard=shard)
    assert one is not None
    return {entry.serial_number.to_bytes(19, "big") for entry in x509.load_der_x509_crl(one.der)}


def altered(stage: Stage, statement: str, *values: object) -> None:
    """Behind the authority's back."""
    connection = sqlite3.connect(stage.url.removeprefix("sqlite:///"))
    with connection:
        connection.execute(statement, values)
    connection.close()


def kept(stage: Stage) -> list[Heading]:
    return run(Publisher(stage.authority, "ours").keep())


def unfit(stage: Stage) -> str:
    with pytest.raises(Refused) as caught:
        kept(stage)
    assert caught.value.reason is Reason.LINT_FAILED
    return caught.value.detail


def one_of(stage: Stage, shard: int) -> bytes:
    return sorted(listed(stage, shard))[0]


def test_a_row_that_vanished_is_noticed_and_the_old_list_stays(ready: Stage) -> None:
    before, lost = headings(ready), one_of(ready, 2)
    altered(ready, "DELETE FROM revocations WHERE serial = ?", lost)
    ready.clock.forward(minutes=15, seconds=1)
    assert "1 entries of the list before it are gone" in unfit(ready)
    after = headings(ready)
    assert [after[shard] == before[shard] for shard in (0, 1, 2, 3)] == [True, False, True, False]
    assert lost in listed(ready, 2) & listed(ready, 0)


def test_an_unfit_shard_is_tried_again_and_keeps_no_other_from_being_published(ready: Stage) -> None:
    row = one_of(ready, 2)
    copy = "CREATE TABLE kept AS SELECT * FROM revocations WHERE serial = ?"
    connection = sqlite3.connect(ready.url.removeprefix("sqlite:///"))
    connection.execute(copy, (row,))
    connection.commit()
    connection.close()
    altered(ready, "DELETE FROM revocations WHERE serial = ?", row)
    issued = _in_another_shard(ready, 2)
    ready.revoke(issued)
    before = headings(ready)
    ready.clock.forward(minutes=15, seconds=1)
    for _ in range(2):
        unfit(ready)
        assert issued.intent.serial.octets in listed(ready, issued.intent.crl_shard)
        assert headings(ready)[2] == before[2]
    altered(ready, "INSERT INTO revocations SELECT * FROM kept")
    kept(ready)
    assert headings(ready)[2].number > before[2].number
    assert {row, issued.intent.serial.octets} <= listed(ready, 0)
    assert kept(ready) == [], "and all is well"


def _in_another_shard(stage: Stage, shard: int) -> object:
    while (issued := stage.enrolled()).intent.crl_shard == shard:
        pass
    return issued


def test_beside_an_unfit_shard_the_full_list_stands_for_no_revision(ready: Stage) -> None:
    """The shard alone is unfit: its row says that it is of another one."""
    row = one_of(ready, 2)
    altered(ready, "UPDATE revocations SET crl_shard = 1 WHERE serial = ?", row)
    ready.clock.forward(minutes=15, seconds=1)
    before = headings(ready)
    unfit(ready)
    after = headings(ready)
    assert after[0].number > before[0].number
    assert after[0].revision == 0
    assert row in listed(ready, 0)
    unfit(ready)
    altered(ready, "UPDATE revocations SET crl_shard = 2 WHERE serial = ?", row)
    ready.clock.forward(minutes=15, seconds=1)
    with pytest.raises(Refused):
        kept(ready)  # list 1 had it meanwhile


def test_an_entry_that_names_another_serial_is_noticed(ready: Stage) -> None:
    row = one_of(ready, 2)
    foreign = b"\x01" + bytes(17) + b"\x05"
    altered(ready, "UPDATE revocations SET entry = replace(entry, ?, ?) WHERE serial = ?", row, foreign, row)
    before = headings(ready)
    ready.clock.forward(minutes=15, seconds=1)
    assert "its entries are not those of the rows" in unfit(ready)
    assert {shard for shard, one in headings(ready).items() if one == before[shard]} == {0, 2}


@pytest.mark.parametrize("entry", [b"", b"\x30\x00", b"text"])
def test_an_entry_that_is_none_is_noticed(ready: Stage, entry: bytes) -> None:
    altered(ready, "UPDATE revocations SET entry = ? WHERE serial = ?", entry, one_of(ready, 2))
    before = headings(ready)
    ready.clock.forward(minutes=15, seconds=1)
    unfit(ready)
    assert headings(ready)[2] == before[2]


def test_an_unfit_list_of_the_root_keeps_none_of_the_issuing_ca_from_being_published(
    ready: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found once: the root's come first, and its refusal ended the round."""
    altered(
        ready,
        "INSERT INTO revocations SELECT 'root-1', serial, 0, revoked_at, reason, expires_at, revision, x'3000' "
        "FROM revocations WHERE serial = ?",
        one_of(ready, 2),
    )
    issued = ready.enrolled()
    ready.revoke(issued)
    ready.clock.forward(minutes=15, seconds=1)
    assert "of root-1" in unfit(ready)
    assert issued.intent.serial.octets in listed(ready, 0)


def test_after_an_older_backup_numbers_are_higher_than_any_before(ready: Stage, tmp_path: Path) -> None:
    """The lists of those days are out there, and a relying party compares."""
    saved = sqlite3.connect(tmp_path / "backup.db")
    source = sqlite3.connect(ready.url.removeprefix("sqlite:///"))
    source.backup(saved)
    source.close()
    saved.close()
    used: list[int] = []
    for _ in range(5):
        ready.clock.forward(seconds=1)
        used += [one.number for one in ready.published() if one.issuer == "issuing-1"]
    ready.clock.forward(seconds=1)
    database = Database(f"sqlite:///{tmp_path / 'backup.db'}")
    restored = Publisher(ready.over(database, crl_shards=SHARDS), "ours")
    made = [one for one in run(restored.publish()) if one.issuer == "issuing-1"]
    database.close()
    assert min(one.number for one in made) > max(used)


def test_within_one_millisecond_numbers_still_differ(ready: Stage) -> None:
    made = [one for _ in range(3) for one in ready.published() if one.issuer == "issuing-1" and one.shard >= 0]
    assert len({one.number for one in made}) == len(made)
    assert [one.number for one in made] == sorted(one.number for one in made)


def test_what_was_released_or_has_expired_may_leave(ready: Stage) -> None:
    ready.clock.forward(minutes=16)
    ready.clock.now += timedelta(hours=2)
    before = listed(ready, 0)
    assert before
    kept(ready)
    assert listed(ready, 0) == before, "one list beyond their end names them, however late it comes (RFC 5280 3.3)"
    ready.clock.forward(minutes=20)
    kept(ready)
    assert listed(ready, 0) == set()
