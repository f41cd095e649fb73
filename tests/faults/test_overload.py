"""Case 41: callers that say nothing, that speak slowly, that are too many. Whoever means it is served meanwhile."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from sqlalchemy import func, insert, select

from ca.assembly import clock
from ca.authority.line import MAX_WAITING
from ca.listening import PATIENCE
from ca.proofs import token
from ca.store.certificates import State
from ca.store.tables import certificates, enrollment_tokens
from ca.store.transaction import open_engine
from ca.store.turn import Turn
from tests.world import World, key_and_csr

EACH = 60
"""Connections of each bad kind."""

AT_ONCE = MAX_WAITING + 400
BUSY = 3.0  # seconds
GROWTH_KIB = 60_000
SLACK = 12

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how many files a process has open")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65536), most))
    running = World(tmp_path_factory.mktemp("overload")).init().start()
    yield running
    running.stop()


def address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return str(parts.hostname), int(parts.port or 0)


def plain(url: str, said: bytes = b"") -> socket.socket:
    one = socket.create_connection(address(url))
    one.sendall(said)
    return one


def encrypted(world: World, said: bytes) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(world.root_pem))
    one = context.wrap_socket(plain(world.api_url), server_hostname="127.0.0.1")
    one.sendall(said)
    return one


HALF_A_HEAD = b"POST /v1/certificates HTTP/1.1\r\nHost: x\r\nX-Slow: "
NO_BODY = b"POST /v1/certificates HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"

SILENT: dict[str, Callable[[World], socket.socket]] = {
    "no handshake": lambda world: plain(world.api_url),
    "no head": lambda world: encrypted(world, b""),
    "half a head": lambda world: encrypted(world, HALF_A_HEAD),
    "no body": lambda world: encrypted(world, NO_BODY),
    "no head at the status service": lambda world: plain(world.status_url),
    "half a head at the status service": lambda world: plain(world.status_url, HALF_A_HEAD),
    "no body at the status service": lambda world: plain(
        world.status_url, NO_BODY.replace(b"/v1/certificates", b"/ocsp")
    ),
}


def files_open(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def resident(pid: int) -> int:
    return int(subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout)


def serves(world: World) -> None:
    """A new agent gets its certificate, and its status can be had."""
    agent = world.new_agent()
    answer = world.post_csr(world.token(agent), key_and_csr()[1])
    assert answer.status_code == 201, answer.text
    with httpx2.Client(trust_env=False) as anyone:
        assert anyone.get(f"{world.status_url}/crl/issuing-1.crl").status_code == 200


def has_ended(one: socket.socket) -> bool:
    try:
        return one.recv(4096) == b""
    except (ConnectionError, ssl.SSLError):
        return True
    except TimeoutError:
        return False


def trickle(one: socket.socket) -> None:
    """One octet more: who sends those for ever must not be waited for for ever."""
    with suppress(OSError):
        one.sendall(b"a")


@pytest.mark.slow
@on_linux
def test_who_is_silent_is_ended_in_time_and_all_others_are_served(world: World) -> None:
    serves(world)
    before = {pid: (files_open(pid), resident(pid)) for pid in world.service_ids()}
    silent = [(kind, make(world)) for kind, make in SILENT.items() for _ in range(EACH)]
    started = time.monotonic()
    serves(world)
    while time.monotonic() - started < PATIENCE.body + 2:
        for kind, one in silent:
            if kind.startswith(("half", "no body")):
                trickle(one)
        time.sleep(2)
    serves(world)
    late: Counter[str] = Counter()
    for kind, one in silent:
        one.settimeout(1)
        late[kind] += not has_ended(one)
        one.close()
    assert not +late
    for pid, (files, memory) in before.items():
        assert files_open(pid) <= files + SLACK
        assert resident(pid) < memory + GROWTH_KIB


def test_where_there_is_no_room_the_longest_idle_make_it(world: World) -> None:
    with ExitStack() as stack:
        idle = [stack.enter_context(plain(world.status_url)) for _ in range(PATIENCE.connections + 100)]
        with httpx2.Client(trust_env=False) as anyone:
            assert anyone.get(f"{world.status_url}/readyz").status_code == 200
        idle[0].settimeout(5)
        assert has_ended(idle[0]), "the first to come was idle for longest"
    assert "connections_full" in world.log()


def test_five_hundred_bad_requests_are_one_line_of_the_log(world: World) -> None:
    for _ in range(500):
        with plain(world.status_url, b"\x00\r\n\r\n") as one:
            assert one.recv(4096).startswith(b"HTTP/1.1 400 ")
    assert world.log().count("Invalid HTTP request received.") == 1


def tokens_of(world: World, count: int) -> list[str]:
    """So many tokens of one agent, put into the database at once."""
    agent, now = world.new_agent(), clock()
    texts = [token.mint(number.to_bytes(token.RANDOM_OCTETS, "big")) for number in range(1, count + 1)]
    rows = [
        {
            "sha256": token.hash_of(text).digest,
            "tenant": "default",
            "agent": agent,
            "created_by": "test",
            "created_at": now,
            "expires_at": now + timedelta(hours=1),
        }
        for text in texts
    ]
    engine = open_engine(f"sqlite:///{world.home / 'remit.db'}", writable=True)
    with engine.begin() as connection:
        connection.execute(insert(enrollment_tokens), rows)
    engine.dispose()
    return texts


async def all_at_once(world: World, requests: list[bytes]) -> list[bytes]:
    """Each on a connection of its own, sent once all are open, to a database that is busy for a moment; the answers."""
    busy = ExitStack()
    context = ssl.create_default_context(cafile=str(world.root_pem))
    gate, doors = asyncio.Event(), asyncio.Semaphore(64)
    opened = 0

    async def one(request: bytes) -> bytes:
        nonlocal opened
        async with doors:
            reader, writer = await asyncio.open_connection(*address(world.api_url), ssl=context)
        opened += 1
        if opened == len(requests):
            busy.enter_context(Turn(Path(f"{world.home / 'remit.db'}-turn")).taken())
            asyncio.get_running_loop().call_later(BUSY, busy.close)
            gate.set()
        await gate.wait()
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer

    return await asyncio.gather(*map(one, requests))


def enrolment(text: str) -> bytes:
    body = json.dumps({"csr": key_and_csr()[1].decode()}).encode()
    head = [
        "POST /v1/certificates HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Authorization: Bearer {text}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def issued(world: World) -> int:
    engine = open_engine(f"sqlite:///{world.home / 'remit.db'}", writable=False)
    with engine.connect() as connection:
        count = connection.execute(select(func.count()).where(certificates.c.state == State.ISSUED.value)).scalar_one()
    engine.dispose()
    return int(count)


def test_beyond_the_queue_is_503_at_once_and_nothing_is_half_done(world: World) -> None:
    before = issued(world)
    answers = asyncio.run(all_at_once(world, [enrolment(text) for text in tokens_of(world, AT_ONCE)]))
    statuses = Counter(answer.split(b" ", 2)[1] for answer in answers)
    assert set(statuses) == {b"201", b"503"}, statuses
    assert all(b"retry-after: " in answer.lower() for answer in answers if b" 503 " in answer[:16])
    assert issued(world) - before == statuses[b"201"] > 0
    serves(world)
