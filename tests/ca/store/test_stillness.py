"""Renewals and revocations of several replicas on PostgreSQL: in turn, each as soon as it can be, and never crossed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import suppress
from typing import Any

import pytest
from cryptography import x509

from ca.store import agents, issuers, revocations, stillness
from ca.store.stillness import Stillness
from ca.store.transaction import Connection, Database
from tests.ca.store.rows import ISSUER, NOW, TENANT, agent, issuer, written
from tests.postgres import Cluster

LONG = 10.0
DEADLOCK = 1.0
"""Seconds after which PostgreSQL looks for one."""


@pytest.fixture
def replicas(postgres: Cluster) -> Iterator[list[Database]]:
    url = postgres.migrated_database()
    made = [Database(url) for _ in range(3)]
    written(made[0], lambda connection: issuers.add(connection, issuer(ISSUER)))
    yield made
    for one in made:
        one.close()


class Slow:
    """An act that goes on until it is let go."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, _connection: Connection) -> float:
        self.begun.set()
        assert self.go.wait(LONG)
        return time.monotonic()


def revoke(connection: Connection) -> float:
    revocations.begin(connection, ISSUER, NOW, x509.ReasonFlags.superseded)
    return time.monotonic()


def renew(connection: Connection) -> float:
    stillness.take(connection, [Stillness.REVOKING])
    return time.monotonic()


def test_renewals_do_not_wait_for_each_other(replicas: list[Database]) -> None:
    slow = Slow()
    first = replicas[0].write(slow, Stillness.REVOKING)
    assert slow.begun.wait(LONG)
    replicas[1].write(renew, Stillness.REVOKING).result(LONG)
    assert not first.done()
    slow.go.set()
    first.result(LONG)


def test_a_revocation_waits_for_renewals_and_is_not_passed_by_later_ones(replicas: list[Database]) -> None:
    slow = Slow()
    renewing = replicas[0].write(slow, Stillness.REVOKING)
    assert slow.begun.wait(LONG)
    revoking = replicas[1].write(revoke, Stillness.EVERYTHING)
    assert wait([revoking], timeout=0.3).not_done
    later = replicas[2].write(renew, Stillness.REVOKING)
    assert wait([later], timeout=0.3).not_done, "it queues behind the revocation"
    slow.go.set()
    assert renewing.result(LONG) <= revoking.result(LONG) <= later.result(LONG)


def test_batches_that_renew_and_revoke_at_once_never_wait_for_one_another_in_a_ring(replicas: list[Database]) -> None:
    begun = time.monotonic()
    work = []
    for _ in range(20):
        for one in replicas:
            work += one.write_together([renew, revoke, renew], Stillness.EVERYTHING)
            work += one.write_together([renew], Stillness.REVOKING)
    for future in work:
        future.result(LONG)
    assert time.monotonic() - begun < DEADLOCK


def change(name: str, meanwhile: Any) -> Any:
    def act(connection: Connection) -> None:
        record = agents.take(connection, TENANT, agent(name).agent.id)
        assert record is not None
        meanwhile()
        agents.replace(connection, record)

    return act


def test_acts_that_crossed_are_tried_again_one_by_one(replicas: list[Database]) -> None:
    """Each locks one agent, then the other's: PostgreSQL ends one of the two transactions, and nobody is told."""
    for name in ("one", "two"):
        written(replicas[0], lambda connection, name=name: agents.add(connection, agent(name)))
    both = threading.Barrier(2)

    def meet() -> None:
        with suppress(threading.BrokenBarrierError):  # at the second try nobody else comes
            both.wait(2)

    mine = replicas[0].write_together([change("one", meet), change("two", lambda: None)])
    theirs = replicas[1].write_together([change("two", meet), change("one", lambda: None)])
    for future in (*mine, *theirs):
        future.result(LONG)
