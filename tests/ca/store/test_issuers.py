from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from ca.pki.profile import Kind
from ca.refusals import Reason, Refused
from ca.store import issuers
from ca.store.crls import PublishedCrl
from ca.store.transaction import Database
from tests.ca.store.rows import ISSUER, NOW, crl, issuer, written


def published(database: Database, one: PublishedCrl) -> bool:
    return written(database, lambda connection: issuers.publish(connection, one))


def in_force(database: Database, shard: int = 0) -> PublishedCrl | None:
    with database.read() as connection:
        return issuers.crl(connection, ISSUER, shard)


def test_issuers_come_back_the_root_first(database: Database) -> None:
    root = issuer("root-1", Kind.ROOT)
    written(database, lambda connection: issuers.add(connection, root))
    with database.read() as connection:
        assert issuers.everyone(connection) == [root, issuer(ISSUER)]


def test_an_id_is_taken_once(database: Database) -> None:
    with pytest.raises(Refused) as caught:
        written(database, lambda connection: issuers.add(connection, issuer(ISSUER)))
    assert caught.value.reason is Reason.CONFLICT


def test_crl_numbers_increase_strictly_for_each_issuer(database: Database) -> None:
    written(database, lambda connection: issuers.add(connection, issuer("root-1", Kind.ROOT)))
    taken = [written(database, lambda connection: issuers.take_crl_number(connection, ISSUER)) for _ in range(4)]
    assert taken == [1, 2, 3, 4]
    assert written(database, lambda connection: issuers.take_crl_number(connection, "root-1")) == 1


def test_two_generators_never_take_one_number(url: str, database: Database) -> None:
    """Case 16."""
    taken: list[int] = []
    in_order: list[bool] = []

    def work(mine: Database) -> None:
        own = [written(mine, lambda connection: issuers.take_crl_number(connection, ISSUER)) for _ in range(40)]
        in_order.append(own == sorted(own))
        taken.extend(own)

    other = Database(url)
    threads = [threading.Thread(target=work, args=(one,)) for one in (database, other, database)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    other.close()
    assert sorted(taken) == list(range(1, 121))
    assert in_order == [True] * 3


def test_the_first_list_is_published(database: Database) -> None:
    assert in_force(database) is None
    assert published(database, crl(1))
    assert in_force(database) == crl(1)


@pytest.mark.parametrize(
    ("later", "accepted"),
    [
        (crl(6), True),
        (crl(6, NOW + timedelta(minutes=1)), True),
        (crl(9, NOW + timedelta(days=1)), True),
        (crl(5), False),
        (crl(5, NOW + timedelta(minutes=1)), False),
        (crl(4, NOW + timedelta(minutes=1)), False),
        (crl(6, NOW - timedelta(seconds=1)), False),
        (crl(6, NOW - timedelta(hours=1)), False),
    ],
    ids=[
        "next",
        "next, later",
        "much later",
        "the same again",
        "the same number, later",
        "an older number, later",
        "thisUpdate goes back",
        "thisUpdate goes back an hour",
    ],
)
def test_a_list_replaces_only_an_older_one(database: Database, later: PublishedCrl, accepted: bool) -> None:
    """Case 16: the number increases and thisUpdate never goes back, whoever publishes."""
    published(database, crl(5))
    assert published(database, later) is accepted
    assert in_force(database) == (later if accepted else crl(5))


def test_shards_are_apart(database: Database) -> None:
    assert published(database, crl(2, shard=1))
    assert published(database, crl(1, shard=0))
    assert in_force(database, 1) == crl(2, shard=1)
    with database.read() as connection:
        assert issuers.published(connection) == [crl(1), crl(2, shard=1)]
