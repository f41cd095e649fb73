"""Case 44, its migrating half: on PostgreSQL with others at work on the same database, and over what is there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from alembic import command
from cryptography import x509
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError

from ca.authority.revoke import REASONS
from ca.pki import crl as lists
from ca.store import agents, crls, revocations, schema
from ca.store.crls import Heading
from ca.store.transaction import Connection, Database, open_engine
from tests.ca.store.rows import ISSUER, NOW, crl, intent
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


# As the version before wrote it.
_AGENT = text(
    "INSERT INTO agents (tenant, id, state, scope, max_depth, description, created_at) "
    "VALUES ('acme', :name, 'active', '', 0, '', 0)"
)


def test_a_replica_writes_on_while_another_migrates(postgres: Cluster) -> None:
    url = postgres.new_database()
    upgrade_to(url, "0002")
    old = Database(url)
    done = threading.Event()
    names: list[str] = []

    def serve() -> None:
        while not done.is_set() or not names:
            name = f"bot-{len(names)}"
            old.write(lambda connection, name=name: connection.execute(_AGENT, {"name": name})).result()  # type: ignore[misc] # one name a turn
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


def executed(url: str, act: Callable[[Connection], object]) -> None:
    engine = open_engine(url, writable=True)
    try:
        with engine.begin() as connection:
            act(connection)
    finally:
        engine.dispose()


NOW_SECONDS = int(NOW.timestamp())
LATE = NOW.replace(year=2050)
REVOKED = [
    (number, at, reason)
    for number, (reason, at) in enumerate((reason, at) for at in (NOW, LATE) for reason in REASONS.values())
]
ISSUERS = text("INSERT INTO issuers VALUES (:id, 'issuing', :id, :id_octets, 9, 0)")
OLD_REVOCATION = text(
    "INSERT INTO revocations (issuer, serial, crl_shard, revoked_at, reason, expires_at)"
    " VALUES (:issuer, :serial, 1, :at, :reason, :end)"
)
OLD_CRL = text(
    "INSERT INTO crls (issuer, shard, number, this_update, next_update, der)"
    " VALUES (:issuer, :shard, :number, :at, :next, :der)"
)


def revoked_before(number: int, at_seconds: int, reason: str, issuer: str = ISSUER) -> dict[str, object]:
    serial, end = intent(number).serial.octets, at_seconds + 900
    return {"issuer": issuer, "serial": serial, "at": at_seconds, "reason": reason, "end": end}


@pytest.fixture
def of_0003(empty_url: str) -> str:
    """A database of the version before revisions, with two issuers, what they revoked, and their lists."""
    upgrade_to(empty_url, "0003")

    def act(connection: Connection) -> None:
        for name in (ISSUER, "root-1"):
            connection.execute(ISSUERS, {"id": name, "id_octets": name.encode()})
        rows = [revoked_before(number, int(at.timestamp()), reason.value) for number, at, reason in REVOKED]
        connection.execute(OLD_REVOCATION, [*rows, revoked_before(0, NOW_SECONDS, "superseded", "root-1")])
        old = [crl(8), crl(7, shard=1)]
        times = {"at": NOW_SECONDS, "next": NOW_SECONDS + 3600}
        lists_of = [
            {"issuer": ISSUER, "shard": one.shard, "number": one.number, "der": one.der, **times} for one in old
        ]
        connection.execute(OLD_CRL, lists_of)

    executed(empty_url, act)
    return empty_url


def test_what_was_revoked_before_there_were_revisions_has_its_entry(of_0003: str) -> None:
    """And every list is behind."""
    schema.upgrade(of_0003)
    expected = {
        intent(number).serial.octets: lists.entry(intent(number).serial, at, why) for number, at, why in REVOKED
    }
    database = Database(of_0003)
    with database.read() as connection:
        assert schema.is_current(connection)
        changed = crls.changes(connection, ISSUER, 0, NOW - timedelta(days=1), 100)
        runs = crls.entries(connection, ISSUER, crls.FULL, NOW - timedelta(days=1))
        theirs = crls.changes(connection, "root-1", 0, NOW - timedelta(days=1), 100)
        assert [revocations.revision(connection, issuer) for issuer in (ISSUER, "root-1")] == [1, 1]
    database.close()
    assert changed is not None
    assert set(changed) == set(expected.values())
    assert len(changed) == len(expected)
    assert all(lists.names(run.der, run.serials) for run in runs)
    assert sum(len(run.der) for run in runs) == sum(map(len, expected.values()))
    assert theirs == [lists.entry(intent(0).serial, NOW, x509.ReasonFlags.superseded)]


def test_so_has_each_of_more_than_are_encoded_at_once(of_0003: str) -> None:
    serials = [intent(number).serial for number in range(1, 10_050)]
    rows = [revoked_before(number, NOW_SECONDS, "superseded", "root-1") for number in range(1, 10_050)]
    executed(of_0003, lambda connection: connection.execute(OLD_REVOCATION, rows))
    schema.upgrade(of_0003)
    database = Database(of_0003)
    with database.read() as connection:
        [run] = crls.entries(connection, "root-1", crls.FULL, NOW - timedelta(days=1))
    database.close()
    assert lists.names(run.der, run.serials)
    assert lists.serials(run.der) == {one.octets for one in [intent(0).serial, *serials]}


def test_lists_of_before_stay_in_force_and_stand_for_no_revision(of_0003: str) -> None:
    schema.upgrade(of_0003)
    database = Database(of_0003)
    with database.read() as connection:
        assert crls.find(connection, ISSUER, 0) == crl(8, revision=0)
        assert crls.find(connection, ISSUER, 1) == crl(7, shard=1, revision=0)
        end = NOW + timedelta(hours=1)
        headings = [Heading(ISSUER, shard, number, NOW, end, 0, 0) for shard, number in ((0, 8), (1, 7))]
        assert crls.headings(connection) == headings
        assert crls.changed_shards(connection, ISSUER, 0) == {1}
    assert database.write(lambda connection: crls.take_number(connection, ISSUER, 0)).result() == 10
    assert database.write(lambda connection: crls.put(connection, crl(10))).result()
    database.close()


def test_what_an_older_version_revokes_without_an_entry_is_refused_by_postgresql(of_0003: str) -> None:
    """A rolling upgrade: refused rather than left out of every list. On SQLite no list is published then."""
    schema.upgrade(of_0003)
    late = revoked_before(99, NOW_SECONDS, "superseded")
    if of_0003.startswith("postgresql"):
        with pytest.raises(IntegrityError, match="not-null"):
            executed(of_0003, lambda connection: connection.execute(OLD_REVOCATION, late))
        return
    executed(of_0003, lambda connection: connection.execute(OLD_REVOCATION, late))
    database = Database(of_0003)
    with database.read() as connection:
        runs = crls.entries(connection, ISSUER, crls.FULL, NOW - timedelta(days=1))
    database.close()
    assert not all(lists.names(run.der, run.serials) for run in runs)


def test_it_is_taken_back_with_what_was_revoked_and_made_again(of_0003: str) -> None:
    """The lists are lost with it; what is revoked is not."""
    schema.upgrade(of_0003)
    executed(of_0003, lambda connection: command.downgrade(schema._config(connection), "0003"))
    late = revoked_before(99, NOW_SECONDS, "superseded")
    executed(of_0003, lambda connection: connection.execute(OLD_REVOCATION, late))
    schema.upgrade(of_0003)
    database = Database(of_0003)
    with database.read() as connection:
        changed = crls.changes(connection, ISSUER, 0, NOW - timedelta(days=1), 100)
        assert crls.headings(connection) == []
    database.close()
    assert changed is not None
    assert len(changed) == len(REVOKED) + 1
    assert lists.entry(intent(99).serial, NOW, x509.ReasonFlags.superseded) in changed
