"""Revocations, holds and releases that PostgreSQL had committed and lost: what stood before stands again."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select

from ca.pki import crl
from ca.store import audit, crls, issuers, journal, lost, revocations
from ca.store.certificates import Intent
from ca.store.journal import Journal
from ca.store.notes import Note
from ca.store.revocations import PACKED_ROW
from ca.store.tables import audit as audit_table
from ca.store.tables import certificates, releases, revisions
from ca.store.tables import revocations as table
from ca.store.transaction import Database
from tests.ca.store.rows import ISSUER, NOW, hold, intent, issue, issuer, release, revoke
from tests.postgres import Cluster

LATER = NOW + timedelta(seconds=5)
LAST = NOW + timedelta(seconds=9)
ALL = (table, releases, revisions)
Snapshot = dict[Any, list[dict[str, Any]]]


@pytest.fixture
def database_url(postgres: Cluster) -> str:
    """PostgreSQL alone loses what it had committed."""
    return postgres.migrated_database()


def clock() -> datetime:
    return NOW


def opened(url: str, directory: Path) -> Database:
    return Database(url, Journal(directory, clock))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def database(url: str, directory: Path) -> Iterator[Database]:
    founding = Database(url)
    founding.write(lambda connection: issuers.add(connection, issuer(ISSUER))).result()
    founding.close()
    made = opened(url, directory)
    yield made
    made.close()


def restart(database: Database, directory: Path) -> None:
    """Another process of this host, whose first transaction puts back what is lacking."""
    process = opened(database.url, directory)
    process.write(lambda _connection: None).result(30)
    process.close()


def snapshot(database: Database) -> Snapshot:
    with database.read() as connection:
        return {one: [dict(row._mapping) for row in connection.execute(select(one))] for one in ALL}


def lose(database: Database, before: Snapshot) -> None:
    """As a standby that had got no more than this."""

    def act(connection: Any) -> None:
        for one in ALL:
            connection.execute(delete(one))
            if before[one]:
                connection.execute(insert(one), before[one])

    database.write(act).result(10)


def standing(database: Database) -> dict[bytes, tuple[datetime, str]]:
    with database.read() as connection:
        rows = list(connection.execute(select(table)))
    for row in rows:
        found = crl.entry(intent(row.serial[-1]).serial, row.revoked_at, x509.ReasonFlags(row.reason))
        assert bytes(row.entry) == found
    return {bytes(row.serial): (row.revoked_at, row.reason) for row in rows}


def told(one: Intent, at: datetime, reason: str) -> dict[bytes, tuple[datetime, str]]:
    return {one.serial.octets: (at, reason)}


def restored(database: Database) -> list[tuple[str | None, str]]:
    with database.read() as connection:
        return [(one.serial, one.detail["what"]) for one in audit.everything(connection)]


def test_the_rows_of_an_act_are_packed(database: Database, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "_PACKED", 3)
    many = [intent(number, crl_shard=number) for number in range(7)]
    issue(database, *many)
    revoke(database, *many)
    [file] = directory.glob("*/*.jsonl")
    notes = [row for what, row in map(json.loads, file.read_text().splitlines()) if what == "revoke"]
    packed = [b64decode(row["rows"]["b"]) for row in notes]
    assert [len(one) // PACKED_ROW.size for one in packed] == [3, 3, 1]
    end = int(many[0].not_after.timestamp())
    found = set(PACKED_ROW.iter_unpack(b"".join(packed)))
    assert found == {(one.serial.octets, one.crl_shard, end) for one in many}
    assert {(row["issuer"], row["reason"]) for row in notes} == {(ISSUER, "superseded")}


def test_what_is_revoked_again_needs_no_certificate(database: Database, directory: Path) -> None:
    """That may come back later, from another host's journal: it must not be good then."""
    one, other = intent(1, crl_shard=7), intent(2)
    issue(database, one, other)
    hold(database, other)
    revoke(database, one, other, at=LATER)
    before = snapshot(database)
    lose(database, {one: before[one] if one is revisions else [] for one in ALL})
    database.write(lambda connection: connection.execute(delete(certificates))).result(10)
    with database.read() as connection:
        rows = lost.missing(connection, notes_of(directory, "revoke"), NOW)
    database.write(lambda connection: lost.put_back(connection, rows, NOW)).result(10)
    assert standing(database) == {**told(one, LATER, "superseded"), **told(other, LATER, "superseded")}
    with database.read() as connection:
        found = connection.execute(select(table.c.crl_shard, table.c.expires_at).order_by(table.c.serial)).all()
    assert [tuple(row) for row in found] == [(7, one.not_after), (1, other.not_after)]


def test_notes_of_the_version_before_are_read(database: Database) -> None:
    """It noted each revocation by itself, in files that outlive the upgrade."""
    row = {
        "issuer": ISSUER,
        "serial": intent(1).serial.octets,
        "crl_shard": 3,
        "revoked_at": NOW,
        "reason": "keyCompromise",
        "expires_at": LAST,
    }
    with database.read() as connection:
        rows = lost.missing(connection, [("revoke", row)], NOW)
    assert database.write(lambda connection: lost.put_back(connection, rows, NOW)).result(10) == 1
    assert standing(database) == told(intent(1), NOW, "keyCompromise")
    assert restored(database) == [(str(intent(1).serial), "revoke")]
    with database.read() as connection:
        assert lost.missing(connection, [("revoke", row)], NOW) == []


def notes_of(directory: Path, what: str) -> list[Note]:
    return [
        one
        for file in sorted(directory.glob("*/*.jsonl"))
        for line in file.read_bytes().splitlines()
        if (one := journal._read(file, line)) is not None and one[0] == what
    ]


def test_each_that_was_revoked_is_revoked_again_from_the_same_moment(database: Database, directory: Path) -> None:
    before = snapshot(database)
    many = [intent(number) for number in range(7)]
    issue(database, *many)
    assert revoke(database, *many[:5]) == 5
    stood = standing(database)
    lose(database, before)
    restart(database, directory)
    assert standing(database) == stood
    assert sorted(restored(database)) == [(str(one.serial), "revoke") for one in many[:5]]
    restart(database, directory)
    assert len(restored(database)) == 5, "what is there is not put back"


def test_of_an_act_only_what_is_lacking_is_put_back(database: Database, directory: Path) -> None:
    """Whatever put the others back: another replica, or an operator by hand."""
    issue(database, intent(1), intent(2), intent(3))
    before = snapshot(database)
    revoke(database, intent(1), intent(2), intent(3))
    lose(database, before)
    revoke(database, intent(2), at=LATER)
    restart(database, directory)
    assert standing(database) == {
        **told(intent(1), NOW, "superseded"),
        **told(intent(2), LATER, "superseded"),
        **told(intent(3), NOW, "superseded"),
    }
    assert sorted(restored(database)) == [(str(intent(number).serial), "revoke") for number in (1, 3)]


def test_a_certificate_that_has_expired_since_is_revoked_again(database: Database, directory: Path) -> None:
    one = intent(1, not_after=NOW)
    issue(database, one)
    before = snapshot(database)
    revoke(database, one)
    lose(database, before)
    process = Database(database.url, Journal(directory, lambda: NOW + timedelta(days=1)))
    process.write(lambda _connection: None).result(30)
    process.close()
    assert standing(database) == told(one, NOW, "superseded")


def test_it_has_a_revision_of_today_so_that_lists_are_made_anew(database: Database, directory: Path) -> None:
    """A list of before the loss may already stand for the revision that was lost."""
    issue(database, intent(1), intent(2, crl_shard=5), intent(3, crl_shard=7))
    before = snapshot(database)
    revoke(database, intent(1))
    hold(database, intent(2))
    lose(database, before)
    revoke(database, intent(3))  # by who knows nothing of it yet
    with database.read() as connection:
        listed = revocations.revision(connection, ISSUER)
    restart(database, directory)
    with database.read() as connection:
        assert revocations.revision(connection, ISSUER) > listed
        assert crls.changed_shards(connection, ISSUER, listed) == {1, 5}


def test_a_lost_hold_comes_back(database: Database, directory: Path) -> None:
    issue(database, intent(1))
    before = snapshot(database)
    hold(database, intent(1))
    lose(database, before)
    restart(database, directory)
    assert standing(database) == told(intent(1), NOW, "certificateHold")
    assert release(database, intent(1), LATER)


@pytest.mark.parametrize("gone", ["both", "the release"])
def test_a_lost_hold_whose_release_was_lost_too_ends_released(database: Database, directory: Path, gone: str) -> None:
    issue(database, intent(1))
    before = snapshot(database)
    hold(database, intent(1))
    held = snapshot(database)
    release(database, intent(1), LATER)
    after = snapshot(database)
    lose(database, before if gone == "both" else held)
    restart(database, directory)
    assert standing(database) == {}
    [row], [there] = after[releases], snapshot(database)[releases]
    same = ("serial", "revoked_at", "released_at", "entry", "crl_shard", "expires_at")
    assert [row[name] for name in same] == [there[name] for name in same]
    whats = ["revoke", "release"] if gone == "both" else ["release"]
    assert restored(database) == [(str(intent(1).serial), what) for what in whats]


def test_a_hold_that_was_released_is_not_put_back(database: Database, directory: Path) -> None:
    issue(database, intent(1))
    hold(database, intent(1))
    release(database, intent(1), LATER)
    restart(database, directory)
    assert standing(database) == {}
    assert restored(database) == []


def test_what_was_revoked_for_good_is_so_again_where_only_its_hold_survived(
    database: Database, directory: Path
) -> None:
    issue(database, intent(1))
    hold(database, intent(1))
    before = snapshot(database)
    revoke(database, intent(1), at=LATER)
    lose(database, before)
    restart(database, directory)
    assert standing(database) == told(intent(1), LATER, "superseded")


@pytest.mark.parametrize("survived", [0, 1, 2], ids=["nothing", "the first hold", "its release"])
def test_what_was_released_and_held_again_ends_held(database: Database, directory: Path, survived: int) -> None:
    """Also within one second: at LATER it is released, and held anew."""
    issue(database, intent(1))
    before = [snapshot(database)]
    hold(database, intent(1))
    before.append(snapshot(database))
    release(database, intent(1), LATER)
    before.append(snapshot(database))
    hold(database, intent(1), at=LATER)
    lose(database, before[survived])
    restart(database, directory)
    assert standing(database) == told(intent(1), LATER, "certificateHold")


def test_a_release_does_not_end_a_later_hold_that_another_host_put_back(
    database: Database, directory: Path, tmp_path: Path
) -> None:
    other_directory = tmp_path / "another host"
    other = opened(database.url, other_directory)
    issue(database, intent(1))
    before = snapshot(database)
    hold(database, intent(1))
    release(database, intent(1), NOW)
    hold(other, intent(1), at=LATER)
    other.close()
    lose(database, before)
    for one in (other_directory, directory, other_directory):
        restart(database, one)
        assert standing(database) == told(intent(1), LATER, "certificateHold")


STEPS = st.lists(
    st.tuples(st.sampled_from([hold, release, revoke]), st.integers(1, 2), st.integers(0, 2)), min_size=1, max_size=9
)
Step = tuple[Callable[..., object], int, int]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS, st.integers(0, 8))
@example([(hold, 1, 0), (release, 1, 0), (hold, 1, 1), (release, 1, 1)], 0)
@example([(hold, 1, 0), (release, 1, 1), (hold, 1, 0), (revoke, 1, 0)], 1)
def test_whatever_was_lost_everything_stands_as_it_did(
    url: str, database: Database, tmp_path: Path, steps: list[Step], survived: int
) -> None:
    """Of any acts on two certificates, and any number of the last commits lost."""
    directory = tmp_path / f"journal-{next(NUMBERS)}"
    clean = (table, releases, certificates, audit_table)
    database.write(lambda connection: [connection.execute(delete(one)) for one in clean]).result(10)
    host, at = opened(url, directory), NOW
    issue(host, intent(1), intent(2))
    before = [snapshot(database)]
    for act, number, seconds in steps:
        at += timedelta(seconds=seconds)
        with database.read() as connection:
            if act is hold and revocations.was_held_at(connection, ISSUER, intent(number).serial, at):
                continue
        act(host, intent(number), at=at)
        before.append(snapshot(database))
    stood = standing(database)
    host.close()
    lose(database, before[min(survived, len(before) - 1)])
    restart(database, directory)
    assert standing(database) == stood


NUMBERS = count()
