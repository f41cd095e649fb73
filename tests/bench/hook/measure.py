"""What the hook costs: certificates drawn from a million, the floor beside it, and how soon a revocation is refused."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from base64 import b64encode, urlsafe_b64encode
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

import httpx2
from sqlalchemy import create_engine, select

from ca.assembly import clock
from ca.store.tables import certificates
from tests.bench import filler
from tests.bench.figures import machine, ratio, typical
from tests.bench.generator import Generator, Running
from tests.bench.measure import Say, modelled
from tests.bench.process import cpu_seconds, wait_until_it_listens
from tests.bench.revocation.figures import percentile
from tests.bench.services import AGENTS, Ours
from tests.holder import held
from tests.world import free_port, key_and_csr

INTROSPECT = "/v1/as/introspect"
HOOK, FLOOR = "hook", "floor"

_ALIVE = 60
_CLIENTS = (1, 32)
_DRAWN = 100_000
_LOAD = 500.0


@dataclass(frozen=True)
class Plan:
    """How many are stored, in how many rounds of how many seconds it is asked, and how many are revoked."""

    stored: int
    rounds: int
    seconds: float
    probes: int


QUICK = Plan(stored=20_000, rounds=1, seconds=1.0, probes=5)
FULL = Plan(stored=1_000_000, rounds=3, seconds=4.0, probes=50)


@dataclass
class Site:
    """The authority, its relying party's key, and a file of thumbprints."""

    ours: Ours
    generator: Generator
    key: Path
    names: Path
    rounds: dict[tuple[str, int], list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))

    def ask(self, url: str, clients: int, seconds: float, rate: float = 0.0) -> Running:
        """Starts to ask about one after another."""
        return Running(
            [
                *(self.generator.program, "introspect", "-url", url, "-root", self.ours.root_pem),
                *("-key", self.key, "-names", self.names, "-again", "-rate", str(rate)),
                *("-clients", str(clients), "-duration", f"{seconds}s", "-warm-up", "0.5s"),
            ]
        )


def run(plan: Plan, directory: Path, generator: Generator, say: Say) -> dict[str, Any]:
    """Measures it all on SQLite with one worker; figures ready for JSON."""
    say(f"Making an authority, and {plan.stored:,} certificates")
    ours = Ours(directory / "hook", "softhsm", None, workers=1).init()
    modelled(ours, generator)
    filler.fill(ours.database_url, plan.stored, int(time.time()), AGENTS, _ALIVE)
    try:
        ours.start()
        site = Site(ours, generator, _party(ours), _names(ours))
        with _floor(site) as (floor_url, floor_pid):
            asked = {HOOK: (f"{ours.api_url}{INTROSPECT}", ours.processes()["CA"]), FLOOR: (floor_url, floor_pid)}
            for number in range(1, plan.rounds + 1):
                for clients in _CLIENTS:
                    for name, (url, pid) in asked.items():
                        say(f"round {number} of {plan.rounds}: {name}, {clients} clients")
                        site.rounds[name, clients].append(_once(site, url, pid, clients, plan.seconds))
        say(f"{plan.probes} revocations, under {_LOAD:.0f} questions a second")
        probes = _probes(site, plan)
    finally:
        ours.stop()
    return {
        "machine": machine(),
        "stored": plan.stored,
        "answers": [_told(site, *cell) for cell in site.rounds],
        "delays": {
            "probes": len(probes),
            "load": _LOAD,
            "p50_ms": round(percentile(probes, 0.5) * 1000, 1),
            "p99_ms": round(percentile(probes, 0.99) * 1000, 1),
        },
    }


def _told(site: Site, name: str, clients: int) -> dict[str, Any]:
    rounds = site.rounds[name, clients]
    costs, floor = ([one["per_core"] for one in site.rounds[which, clients]] for which in (name, FLOOR))
    return {
        "system": name,
        "clients": clients,
        **typical(rounds),
        "per_core": round(median(costs), 1),
        "to_floor": None if name == FLOOR else ratio(costs, floor),
    }


def _once(site: Site, url: str, pid: int, clients: int, seconds: float) -> dict[str, Any]:
    before = cpu_seconds(pid)
    seen = site.ask(url, clients, seconds).result()
    return seen | {"per_core": seen["sent"] / (cpu_seconds(pid) - before)}


def _probes(site: Site, plan: Plan) -> list[float]:
    """Seconds from the 200 of a revocation to the first answer that says so; asked without a pause."""
    world, delays = site.ours, []
    load = site.ask(f"{world.api_url}{INTROSPECT}", 8, 3600.0, _LOAD)
    headers = {"Authorization": f"Bearer {site.key.read_text()}"}
    try:
        with world.operator() as operator, world.client() as party:
            for _ in range(plan.probes):
                key, csr = key_and_csr()
                answer = held(world, key, world.post_csr(world.token("agent-0001"), csr)).answer
                question = {"x5t#S256": answer["x5t#S256"]}
                assert party.post(INTROSPECT, json=question, headers=headers).json()["active"] is True
                revoked = operator.post(f"/v1/certificates/{answer['serial']}/revoke", json={"reason": "superseded"})
                said = time.perf_counter()
                assert revoked.status_code == 200
                while party.post(INTROSPECT, json=question, headers=headers).json()["active"]:
                    pass
                delays.append(time.perf_counter() - said)
    finally:
        load.stop()
    return delays


def _party(ours: Ours) -> Path:
    file = ours.directory / "party.key"
    options = ("--role", "relying-party", "--reasons", "--key-file", file, "--dir", ours.directory / "party")
    done = ours.cli("operator", "add", "bench", *options)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return file


def _names(ours: Ours) -> Path:
    """Live certificates in no order: the database's pages are read as strangers would have them read."""
    engine = create_engine(ours.database_url)
    live = certificates.c.not_after > clock() + timedelta(minutes=10)
    query = select(certificates.c.x5t).where(certificates.c.kind == "agent", live)
    with engine.connect() as connection:
        found = [row.x5t for row in connection.execute(query)]
    engine.dispose()
    drawn = random.sample(found, min(_DRAWN, len(found)))
    file = ours.directory / "names"
    file.write_text("".join(urlsafe_b64encode(one).decode().rstrip("=") + "\n" for one in drawn))
    return file


@contextmanager
def _floor(site: Site) -> Iterator[tuple[str, int]]:
    """A server that says to everything what the hook says to the first question."""
    ours, port = site.ours, free_port()
    headers = {"Authorization": f"Bearer {site.key.read_text()}"}
    with ours.client() as party:
        name = site.names.open().readline().strip()
        answer: httpx2.Response = party.post(INTROSPECT, data={"x5t#S256": name}, headers=headers)
    file = ours.directory / "said.json"
    file.write_text(json.dumps({"headers": answer.headers.multi_items(), "body": b64encode(answer.content).decode()}))
    tls = ours.home / "tls"
    log = ours.directory / "floor.log"
    command = [sys.executable, "-m", "tests.bench.hook.floor", str(port), tls / "tls.crt", tls / "tls.key", file]
    with log.open("wb") as stream:
        floor = subprocess.Popen(command, env=ours.environment, cwd=ours.directory, stdout=stream, stderr=stream)
    try:
        wait_until_it_listens(f"https://127.0.0.1:{port}", floor, log)
        yield f"https://127.0.0.1:{port}{INTROSPECT}", floor.pid
    finally:
        floor.terminate()
        floor.wait(10)
