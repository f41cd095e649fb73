"""`workers = 2`: several processes behind one port, one database and one token; any of them may die."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest

from tests.world import World, key_and_csr

pytestmark = pytest.mark.slow

WORKERS = 2
TOKENS = 20
RACERS = 4
TOGETHER = 8
PATIENCE = 20.0


@pytest.fixture(scope="module")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("workers"), REMIT_WORKERS=str(WORKERS)).init()


@pytest.fixture
def world(initialised: World) -> Iterator[World]:
    initialised.start()
    wait_until(lambda: len(workers_of(initialised)) == WORKERS)
    yield initialised
    initialised.stop()


def parent_of(world: World) -> int:
    return world.service_ids()[0]


def workers_of(world: World) -> set[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    return {pid for pid, parent in pairs if parent == parent_of(world)}


def wait_until(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


def octet(serial: str) -> int:
    return int(serial, 16).to_bytes(19, "big")[0]


def test_a_race_for_one_token_makes_one_certificate_whichever_worker_is_asked(world: World) -> None:
    """Case 12 on SQLite, whose one file both write."""
    agent = world.new_agent()
    tokens = [world.token(agent) for _ in range(TOKENS)]
    csrs = [key_and_csr()[1] for _ in range(RACERS)]

    def race(attempt: tuple[str, bytes]) -> tuple[str, int, str]:
        answer = world.post_csr(*attempt)
        return attempt[0], answer.status_code, answer.json().get("serial", "")

    with ThreadPoolExecutor(TOGETHER) as pool:
        outcomes = list(pool.map(race, product(tokens, csrs)))
    winners = {token: serial for token, status, serial in outcomes if status == 201}
    assert set(winners) == set(tokens)
    assert sum(status == 201 for _, status, _ in outcomes) == TOKENS
    assert {status for _, status, _ in outcomes} <= {201, 401, 409}
    assert len({octet(serial) for serial in winners.values()}) == WORKERS, "each has an octet of its own"


def test_a_worker_that_is_killed_comes_back_and_the_other_serves_on(world: World) -> None:
    killed = min(workers_of(world))
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: killed not in workers_of(world))  # and its port with it
    agent = world.new_agent()
    assert world.post_csr(world.token(agent), key_and_csr()[1]).status_code == 201
    wait_until(lambda: len(workers_of(world) - {killed}) == WORKERS)
    assert "worker_killed" in world.log()


@pytest.mark.slow
def test_workers_end_with_a_parent_that_is_killed(initialised: World) -> None:
    initialised.start()
    wait_until(lambda: len(workers_of(initialised)) == WORKERS)
    orphans = workers_of(initialised)
    initialised.stop(signal.SIGKILL)
    wait_until(lambda: not any(map(lives, orphans)))


def lives(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return state.strip()[:1] not in {"", "Z"}


def test_why_none_can_start_is_said_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """There is no database: one sentence, exit 1, and no worker is left."""
    empty = World(tmp_path_factory.mktemp("empty"), REMIT_WORKERS=str(WORKERS))
    done = empty.run_server()
    assert done.returncode == 1
    assert done.stderr.count("remit: ") == 1, done.stderr
    assert "database" in done.stderr


def test_a_port_that_another_program_has_is_refused(initialised: World) -> None:
    with socket.create_server(("127.0.0.1", int(initialised.api_url.rpartition(":")[2]))):
        done = initialised.run_server()
    assert done.returncode != 0
    assert "cannot listen on" in done.stderr
