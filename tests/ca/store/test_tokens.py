from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from ca.identifiers import Serial, Thumbprint
from ca.refusals import Refused
from ca.store import tokens
from ca.store.tokens import TokenRecord
from ca.store.transaction import Database
from tests.ca.store.rows import NOW, token, written

HASH = token().hash


def added(database: Database, *records: TokenRecord) -> None:
    for record in records:
        written(database, lambda connection, record=record: tokens.add(connection, record))


def found(database: Database, of: Thumbprint = HASH) -> TokenRecord | None:
    with database.read() as connection:
        return tokens.find(connection, [of]).get(of)


@pytest.mark.parametrize(
    "record", [token(), token(task=None), token(key=Thumbprint.of(b"key"))], ids=["task", "no task", "bound"]
)
def test_a_token_comes_back_as_it_was(database: Database, record: TokenRecord) -> None:
    added(database, record)
    assert found(database) == record
    assert found(database, Thumbprint.of(b"another")) is None


def test_a_token_is_made_once(database: Database) -> None:
    added(database, token())
    with pytest.raises(Refused):
        added(database, token())


def test_a_token_is_spent_once(database: Database) -> None:
    added(database, token(), token("two"))
    outcomes = [
        written(database, lambda connection, i=i: tokens.spend(connection, {HASH: Serial(i)}, NOW)) for i in (7, 8, 7)
    ]
    assert outcomes == [True, False, False]
    spent = found(database)
    assert spent is not None
    assert spent.spent_on == Serial(7)
    assert found(database, token("two").hash) == token("two")


def test_of_several_one_that_was_spent_is_told(database: Database) -> None:
    added(database, token(), token("two"))
    assert written(database, lambda connection: tokens.spend(connection, {HASH: Serial(1)}, NOW))
    both = {HASH: Serial(2), token("two").hash: Serial(3)}
    assert not written(database, lambda connection: tokens.spend(connection, both, NOW))


def test_an_unknown_token_is_not_spent(database: Database) -> None:
    assert not written(database, lambda connection: tokens.spend(connection, {HASH: Serial(1)}, NOW))


def test_two_replicas_race_and_one_spends(url: str, database: Database) -> None:
    """Case 12: two processes' worth of writers on one file, many tokens, one winner each."""
    records = [token(str(i)) for i in range(50)]
    added(database, *records)
    start = threading.Barrier(2)
    won: dict[int, list[int]] = {1: [], 2: []}

    def race(replica: int, mine: Database) -> None:
        start.wait(10)
        for i, record in enumerate(records):
            serial = Serial(replica)
            if written(mine, lambda connection, r=record, s=serial: tokens.spend(connection, {r.hash: s}, NOW)):
                won[replica].append(i)

    other = Database(url)
    threads = [threading.Thread(target=race, args=args) for args in ((1, database), (2, other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    other.close()
    assert sorted(won[1] + won[2]) == list(range(50))
    for replica, tokens_won in won.items():
        for i in tokens_won:
            kept = found(database, records[i].hash)
            assert kept is not None
            assert kept.spent_on == Serial(replica)


def test_expired_tokens_are_forgotten_spent_or_not(database: Database) -> None:
    old = NOW - timedelta(days=31)
    added(database, token("old", expires_at=old), token("old and spent", expires_at=old), token("new"))
    spent = token("old and spent").hash
    written(database, lambda connection: tokens.spend(connection, {spent: Serial(1)}, NOW))
    assert written(database, lambda connection: tokens.forget(connection, NOW - timedelta(days=30))) == 2
    assert found(database, token("old").hash) is None
    assert found(database, token("new").hash) is not None
