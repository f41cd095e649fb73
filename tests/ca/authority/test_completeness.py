"""Cases 15 and 16 in a storm: whatever is published on the way, an oracle finds complete."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ca.authority import hold, revoke
from ca.authority.publisher import Publisher
from ca.identifiers import AgentId, Serial
from ca.refusals import Refused
from ca.store.filters import Filter
from ca.store.transaction import Database
from tests.ca.authority.oracle import Oracle
from tests.ca.authority.stage import TENANT, Stage, failing, run

ACTS = 150
SEED = 4
SHARDS = 3
AGENTS = ("alpha", "beta", "gamma")
REASONS = tuple(revoke.REASONS.values())


@dataclass
class Storm:
    stage: Stage
    random: random.Random
    serials: list[Serial] = field(default_factory=list)
    held: list[Serial] = field(default_factory=list)

    def any_serial(self) -> Serial:
        return self.random.choice(self.serials[-10:])


def enrol(storm: Storm) -> None:
    issued = storm.stage.enrolled(storm.random.choice(AGENTS), None)
    storm.serials.append(issued.intent.serial)


def revoke_one(storm: Storm) -> None:
    revoke.revoke_serial(storm.stage.authority, storm.any_serial(), storm.random.choice(REASONS), "ops")


def revoke_an_agent(storm: Storm) -> None:
    wanted = Filter(tenant=TENANT, holder=AgentId(storm.random.choice(AGENTS)))
    revoke.revoke_many(storm.stage.authority, wanted, storm.random.choice(REASONS), "ops", dry_run=False)


def hold_one(storm: Storm) -> None:
    serial = storm.any_serial()
    hold.hold(storm.stage.authority, serial, "ops")
    storm.held.append(serial)


def release_one(storm: Storm) -> None:
    if storm.held:
        hold.release(storm.stage.authority, storm.held.pop(), "ops")


def wait(storm: Storm) -> None:
    storm.stage.clock.forward(seconds=storm.random.choice((1, 30, 300, 1500)))


def outage(storm: Storm) -> None:
    """RFC 5280 3.3: what no list beyond its end has named stays for one more, however late that one comes."""
    storm.stage.clock.forward(hours=storm.random.choice((3, 24)))


def publish_lists(storm: Storm) -> None:
    storm.stage.published()


def publish_what_is_behind(storm: Storm) -> None:
    run(Publisher(storm.stage.authority, "ours").keep())


def publish_elsewhere(storm: Storm) -> None:
    other = Database(storm.stage.url)
    try:
        run(Publisher(storm.stage.over(other, replica=lambda _: 2), "other").keep())
    finally:
        other.close()


def publish_with_a_clock_that_is_behind(storm: Storm) -> None:
    with behind(storm):
        publish_lists(storm)


def revoke_with_a_clock_that_is_behind(storm: Storm) -> None:
    with behind(storm):
        revoke_one(storm)


def publish_without_a_signer(storm: Storm) -> None:
    storm.stage.signer.instead = failing()
    try:
        publish_lists(storm)
    finally:
        storm.stage.signer.instead = None


@contextmanager
def behind(storm: Storm) -> Iterator[None]:
    storm.stage.clock.forward(hours=-1)
    try:
        yield
    finally:
        storm.stage.clock.forward(hours=1)


WEIGHTS: dict[Callable[[Storm], None], int] = {
    enrol: 8,
    revoke_one: 5,
    revoke_an_agent: 1,
    hold_one: 3,
    release_one: 2,
    wait: 6,
    outage: 1,
    publish_lists: 3,
    publish_what_is_behind: 6,
    publish_elsewhere: 2,
    publish_with_a_clock_that_is_behind: 1,
    revoke_with_a_clock_that_is_behind: 1,
    publish_without_a_signer: 1,
}


@pytest.fixture
def on_either(tmp_path: Path, database_url: str) -> Iterator[Stage]:
    made = Stage(tmp_path, database_url)
    made.authority = made.over(made.database, crl_shards=SHARDS)
    yield made
    made.close()


def test_every_list_is_complete(on_either: Stage) -> None:
    stage = on_either
    for agent in AGENTS:
        stage.agent(agent)
    storm, oracle, done = Storm(stage, random.Random(SEED)), Oracle(stage.url), Counter[str]()
    enrol(storm)
    for act in storm.random.choices(list(WEIGHTS), WEIGHTS.values(), k=ACTS):
        with suppress(Refused):
            act(storm)
            done[act.__name__] += 1
        oracle.look()
    for _ in range(5):
        publish_lists(storm)
        oracle.look()
        assert oracle.missing() == set()
        stage.clock.forward(hours=1)
    assert oracle.listed() == 0, "what has expired leaves"
    assert oracle.came == oracle.left > 10
    # A signer that is gone refuses every time.
    assert {act.__name__ for act in WEIGHTS} - done.keys() == {publish_without_a_signer.__name__}


# The oracle sees what it is for.


def changed(stage: Stage, statement: str) -> None:
    with closing(sqlite3.connect(stage.url.removeprefix("sqlite:///"))) as file, file:
        file.execute(statement)


@pytest.fixture
def storm(ready: Stage) -> Storm:
    made = Storm(ready, random.Random(0), [ready.enrolled().intent.serial])
    publish_lists(made)
    return made


def test_it_sees_what_is_not_listed(storm: Storm) -> None:
    revoke_one(storm)
    with pytest.raises(AssertionError, match="but not listed"):
        Oracle(storm.stage.url).look()


def test_it_sees_what_is_listed_for_nothing(storm: Storm) -> None:
    revoke_one(storm)
    publish_lists(storm)
    changed(storm.stage, "DELETE FROM revocations")
    with pytest.raises(AssertionError, match="but not so revoked"):
        Oracle(storm.stage.url).look()


def test_it_sees_an_older_list_put_back(storm: Storm) -> None:
    oracle = Oracle(storm.stage.url)
    oracle.look()
    changed(storm.stage, "CREATE TABLE backup AS SELECT * FROM crls")
    publish_lists(storm)
    oracle.look()
    changed(storm.stage, "DELETE FROM crls")
    changed(storm.stage, "INSERT INTO crls SELECT * FROM backup")
    with pytest.raises(AssertionError, match="numbers rise"):
        oracle.look()
