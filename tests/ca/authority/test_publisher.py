"""The one that publishes: when, by whom, and what stays as it was when something is in the way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from datetime import timedelta

import pytest
from cryptography import x509

from ca import assembly
from ca.authority import publish, publisher, tasks
from ca.authority.publisher import LEASE, NAME, Publisher
from ca.policy.ceiling import TaskState
from ca.refusals import Reason, Refused
from ca.store import crls, leases
from ca.store.crls import Heading
from ca.store.leases import Lease
from ca.store.transaction import Database
from tests.ca.authority.stage import TASK, TENANT, Stage, failing, run

PATIENCE = 10.0
ALL = {("root-1", 0), ("issuing-1", 0), ("issuing-1", 1)}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROUND", "_AFTER_A_FAULT"):
        monkeypatch.setattr(publisher, name, 0.02)


@pytest.fixture
def other(ready: Stage) -> Iterator[Publisher]:
    """A second replica: another process with connections of its own."""
    database = Database(ready.url)
    yield Publisher(ready.over(database, replica=lambda _: 2), "theirs")
    database.close()


@pytest.fixture
def ours(ready: Stage) -> Publisher:
    return Publisher(ready.authority, "ours")


def numbers(stage: Stage) -> dict[tuple[str, int], int]:
    with stage.database.read() as connection:
        return {(one.issuer, one.shard): one.number for one in crls.headings(connection)}


def names(made: list[Heading]) -> set[tuple[str, int]]:
    return {(one.issuer, one.shard) for one in made}


def listed(stage: Stage, shard: int = 0) -> set[int]:
    one = stage.in_force(shard=shard)
    assert one is not None
    return {entry.serial_number for entry in x509.load_der_x509_crl(one.der)}


def running(stage: Stage, until: Callable[[], bool], meanwhile: Callable[[Publisher], object] = lambda _: None) -> None:
    """Rounds until something is so; fails when it does not become so, or when the rounds end."""

    async def watch() -> None:
        one = Publisher(stage.authority, "ours")
        rounds = asyncio.create_task(one.run())
        await asyncio.sleep(0)
        meanwhile(one)
        try:
            async with asyncio.timeout(PATIENCE):
                while not until():
                    assert not rounds.done(), "the rounds ended"
                    await asyncio.sleep(0.005)
        finally:
            rounds.cancel()
            with suppress(asyncio.CancelledError):
                await rounds

    run(watch())


# When.


def test_the_first_round_publishes_every_list(stage: Stage) -> None:
    running(stage, lambda: numbers(stage).keys() == ALL)


def test_nothing_is_published_before_its_time(stage: Stage, ours: Publisher) -> None:
    run(ours.keep())
    stage.clock.forward(minutes=14)
    assert run(ours.keep()) == []


def test_lists_are_made_anew_in_the_second_quarter_of_their_life(stage: Stage, ours: Publisher) -> None:
    """Case 18: nothing was revoked, and the list is fresh all the same."""
    run(ours.keep())
    stage.clock.forward(minutes=15, seconds=1)
    assert names(run(ours.keep())) >= ALL


def test_a_revocation_wakes_it(ready: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the call the next round would be long after this test."""
    issued = ready.enrolled()
    before: list[int] = []

    def revoked() -> bool:
        if not before:
            if numbers(ready).keys() < ALL:
                return False
            before.append(numbers(ready)["issuing-1", 1])
            ready.revoke(issued)
            woken[0].wake()
        return numbers(ready)["issuing-1", 1] > before[0]

    monkeypatch.setattr(publisher, "ROUND", 10 * PATIENCE)
    woken: list[Publisher] = []
    running(ready, revoked, woken.append)
    assert listed(ready, 1) == {issued.intent.serial.number}


def test_waking_before_it_runs_does_nothing(stage: Stage) -> None:
    Publisher(stage.authority, "ours").wake()


def test_only_what_changed_is_published_and_shards_before_the_full_list(ready: Stage) -> None:
    ready.authority = ready.over(ready.database, crl_shards=4)
    ours = Publisher(ready.authority, "ours")
    run(ours.keep())
    issued = ready.enrolled()
    ready.revoke(issued)
    made = run(ours.keep())
    assert [(one.issuer, one.shard) for one in made] == [
        ("issuing-1", issued.intent.crl_shard),
        ("issuing-1", crls.DELTA),
        ("issuing-1", crls.FULL),
    ]
    assert made[0].number < made[2].number


def test_what_ends_with_a_task_is_published_in_the_next_round(ready: Stage, ours: Publisher) -> None:
    run(ours.keep())
    issued = ready.enrolled()
    tasks.end(ready.authority, TENANT, TASK, TaskState.CANCELLED, "ops")
    run(ours.keep())
    assert listed(ready) == listed(ready, 1) == {issued.intent.serial.number}


def test_a_crash_before_the_first_full_list_leaves_no_shard_behind(
    ready: Stage, ours: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found once: with no full list there was nothing that said up to where the shards are complete."""
    real = crls.put

    def dying(connection: object, one: crls.PublishedCrl) -> bool:
        if one.issuer == "issuing-1" and one.shard == crls.FULL:
            raise RuntimeError("killed")
        return real(connection, one)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(crls, "put", dying)
        with pytest.raises(RuntimeError):
            run(ours.keep())
    assert numbers(ready).keys() == ALL - {("issuing-1", 0)}
    issued = ready.enrolled()
    ready.revoke(issued)
    run(ours.keep())
    assert listed(ready, 0) == listed(ready, 1) == {issued.intent.serial.number}


# By whom.


def test_only_one_of_two_replicas_publishes(ready: Stage, ours: Publisher, other: Publisher) -> None:
    assert names(run(ours.keep())) == ALL
    before = numbers(ready)
    ready.clock.forward(minutes=15, seconds=1)
    run(ours.keep())
    after = numbers(ready)
    assert all(after[name] > number for name, number in before.items())
    ready.revoke(ready.enrolled())
    assert run(other.keep()) == []
    assert numbers(ready) == after


def test_what_another_replica_revoked_the_holder_publishes_in_its_next_round(
    ready: Stage, ours: Publisher, other: Publisher
) -> None:
    """It is not woken: it looks."""
    run(other.keep())
    issued = ready.enrolled()
    ready.revoke(issued)
    assert run(ours.keep()) == []
    run(other.keep())
    assert listed(ready) == {issued.intent.serial.number}


def test_after_a_crash_the_other_takes_over_within_the_lease(ready: Stage, ours: Publisher, other: Publisher) -> None:
    run(ours.keep())
    issued = ready.enrolled()
    ready.revoke(issued)
    assert run(other.keep()) == []
    ready.clock.now += LEASE
    run(other.keep())
    assert listed(ready) == {issued.intent.serial.number}
    assert run(ours.keep()) == [], "and is the holder from then on"


def test_who_ends_gives_the_lease_back(ready: Stage, ours: Publisher, other: Publisher) -> None:
    run(ours.keep())
    run(ours.leave())
    ready.revoke(ready.enrolled())
    assert names(run(other.keep())) >= {("issuing-1", 0), ("issuing-1", 1)}


def test_a_holder_that_goes_on_keeps_the_lease(ready: Stage, ours: Publisher, other: Publisher) -> None:
    for _ in range(8):
        run(ours.keep())
        assert run(other.keep()) == []
        ready.clock.now += LEASE * 0.7


def test_a_lease_of_a_clock_that_was_ahead_holds_nothing_up(ready: Stage, ours: Publisher, other: Publisher) -> None:
    """A clock that went back would otherwise make the lease a day long."""
    ready.clock.forward(days=1)
    run(ours.keep())
    ready.clock.forward(days=-1)
    ready.revoke(ready.enrolled())
    assert run(other.keep())


def test_whoever_is_told_to_publish_takes_the_lease(ready: Stage, ours: Publisher, other: Publisher) -> None:
    run(ours.keep())
    assert names(run(other.publish())) >= ALL
    ready.revoke(ready.enrolled())
    assert run(ours.keep()) == []


def test_one_that_lost_the_lease_can_neither_take_a_number_nor_put_a_list(ready: Stage, ours: Publisher) -> None:
    run(ours.keep())
    with ready.database.read() as connection:
        held = leases.find(connection, NAME)
    assert held is not None
    before = numbers(ready)
    ready.database.write(lambda c: leases.seize(c, NAME, "theirs", ready.clock() + LEASE)).result(10)
    with pytest.raises(Refused, match="Another replica") as caught:
        run(publish.publish(ready.authority, held.lease, ready.issuer, {1, 0}))
    assert caught.value.reason is Reason.CONFLICT
    assert ready.signer.signed[3:] == [], "not even a signature"
    assert numbers(ready) == before


def test_a_list_of_one_fenced_out_while_it_signed_is_not_put(ready: Stage, ours: Publisher) -> None:
    run(ours.keep())
    before = numbers(ready)
    ready.revoke(ready.enrolled())
    lease: list[Lease] = []

    def slow(key: object, messages: object) -> Future[list[bytes]]:
        lease.append(ready.database.write(lambda c: leases.seize(c, NAME, "theirs", ready.clock() + LEASE)).result(10))
        ready.signer.instead = None
        return ready.signer.sign(key, messages)  # type: ignore[arg-type]

    ready.signer.instead = slow  # type: ignore[assignment]
    with pytest.raises(Refused) as caught:
        run(ours.keep())
    assert caught.value.reason is Reason.CONFLICT
    assert lease[0].fence == 2
    assert numbers(ready) == before


def test_a_list_that_takes_longer_than_a_lease_is_published_all_the_same(
    ready: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found once: with a million entries two replicas took the lease from each other for ever."""
    monkeypatch.setattr(publisher, "LEASE", timedelta(seconds=2))
    database = Database(ready.url)
    clock = {"clock": assembly.clock}
    ours, theirs = Publisher(ready.over(ready.database, **clock), "ours"), Publisher(ready.over(database, **clock), "b")

    def slow(key: object, messages: object) -> Future[list[bytes]]:
        ready.signer.instead = None
        done: Future[list[bytes]] = Future()
        signed = ready.signer.sign(key, messages)  # type: ignore[arg-type]
        threading.Timer(3.0, lambda: done.set_result(signed.result())).start()
        return done

    async def both() -> None:
        ready.signer.instead = slow  # type: ignore[assignment]
        first = asyncio.create_task(ours.keep())
        while not first.done():
            await asyncio.sleep(0.05)
            assert numbers(ready) or await theirs.keep() == []
        assert names(await first) == ALL

    run(both())
    database.close()


def test_in_one_process_one_publishes_after_the_other(ready: Stage, ours: Publisher) -> None:
    """Found once: the list that was read first could take the place of a newer one, with a higher number."""
    asked: list[Future[list[bytes]]] = []
    heard = asyncio.Event()

    def waiting(key: object, messages: object) -> Future[list[bytes]]:
        asked.append(Future())
        heard.set()
        return asked[-1]

    async def both() -> None:
        ready.signer.instead = waiting  # type: ignore[assignment]
        first, second = asyncio.create_task(ours.keep()), asyncio.create_task(ours.publish())
        async with asyncio.timeout(PATIENCE):
            await heard.wait()
            await asyncio.sleep(0.1)
            assert len(asked) == 1
            ready.signer.instead = None
            failed = failing()(ready.issuer.public_key, [])
            asked[0].set_exception(failed.exception())
            with pytest.raises(Refused):
                await first
            assert names(await second) == ALL

    run(both())


# What is in the way.


def test_a_signer_that_is_gone_ends_nothing(stage: Stage) -> None:
    """Case 18: it goes on trying, and the list is there as soon as the signer is back."""
    attempts: list[int] = []

    def gone(key: object, messages: object) -> object:
        attempts.append(1)
        if len(attempts) < 4:
            return failing()(key, messages)  # type: ignore[arg-type]
        stage.signer.instead = None
        return stage.signer.sign(key, messages)  # type: ignore[arg-type]

    stage.signer.instead = gone  # type: ignore[assignment]
    running(stage, lambda: numbers(stage).keys() == ALL)
    assert len(attempts) == 4


def test_what_nobody_foresaw_ends_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts: list[int] = []
    real = Publisher.keep

    async def broken(one: Publisher) -> list[Heading]:
        attempts.append(1)
        if len(attempts) < 3:
            raise RuntimeError("unforeseen")
        return await real(one)

    monkeypatch.setattr(Publisher, "keep", broken)
    running(stage, lambda: numbers(stage).keys() == ALL)


def test_a_clock_that_goes_back_lowers_neither_number_nor_this_update(ready: Stage, ours: Publisher) -> None:
    """Case 16; and what is revoked meanwhile is published."""
    run(ours.keep())
    before = ready.in_force(shard=0)
    issued = ready.enrolled()
    ready.clock.forward(hours=-1)
    ready.revoke(issued)
    run(ours.keep())
    after = ready.in_force(shard=0)
    assert before is not None
    assert after is not None
    assert after.number > before.number
    assert after.this_update >= before.this_update
    assert after.next_update - after.this_update == timedelta(hours=1)
    assert listed(ready) == listed(ready, 1) == {issued.intent.serial.number}
