"""Runs a plan: starts what is measured, and measures in rounds, so that the machine's drift meets all alike."""

from __future__ import annotations

import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench import filler, floor
from tests.bench.databases import Databases
from tests.bench.generator import Generator
from tests.bench.plan import NAIVES, OURS, Cell, Group, Plan
from tests.bench.process import rss
from tests.bench.services import AGENTS, Naive, Ours

Say = Callable[[str], None]
_SPARE = 1.5
_FASTEST = 6000.0
"""Certificates a second that tokens are made for, before it is known how many it will be."""


@dataclass
class Memory:
    """Resident set of one process, KiB."""

    system: str
    process: str
    at_start: int
    after: int = 0
    requests: int = 0


@dataclass
class Floor:
    """What `floor.measure` gave in each round, for one process, and once for two."""

    key: str
    database: str
    rates: list[float] = field(default_factory=list)
    two_processes: float = 0.0


@dataclass
class Measured:
    """Everything that was seen: for each cell what the load generator printed, round by round."""

    rounds: dict[Cell, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    floors: list[Floor] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    fills: list[dict[str, Any]] = field(default_factory=list)


def run(plan: Plan, directory: Path, databases: Databases, generator: Generator, say: Say) -> Measured:
    """Measures every group of the plan."""
    measured = Measured()
    for group in plan.groups:
        with _running(group, directory / group.name, databases, generator, measured, say) as systems:
            _measure(plan, group, systems, generator, measured, say)
    return measured


@contextmanager
def _running(
    group: Group, directory: Path, databases: Databases, generator: Generator, measured: Measured, say: Say
) -> Iterator[dict[tuple[str, int], Ours | Naive]]:
    """Every system of the group by name and number of stored certificates, ready."""
    say(f"{group.name}: making authorities with {', '.join(f'{stored:,}' for stored in group.stored)} certificates")
    ours = {
        stored: Ours(directory / f"ours-{stored}", group.key, databases.new(group.database, f"ours-{stored}"))
        for stored in group.stored
    }
    naives = {form: Naive(ours[0], form, databases.new(group.database, form)) for form in NAIVES}
    systems: dict[tuple[str, int], Ours | Naive] = {(OURS, stored): one for stored, one in ours.items()}
    systems |= {(form, 0): one for form, one in naives.items()}
    with ThreadPoolExecutor() as pool:
        try:
            measured.fills += filter(
                None, pool.map(lambda stored: _prepare(ours[stored], stored, generator, group.database), ours)
            )
            say(f"{group.name}: starting")
            list(pool.map(Ours.start, ours.values()))
            list(pool.map(Naive.start, naives.values()))
            yield systems
        finally:
            say(f"{group.name}: stopping")
            list(pool.map(lambda one: one.stop(), systems.values()))
            shutil.rmtree(directory)


def _prepare(ours: Ours, stored: int, generator: Generator, database: str) -> dict[str, Any] | None:
    ours.init()
    return filled(ours, stored, generator, database) if stored else None


def filled(ours: Ours, stored: int, generator: Generator, database: str) -> dict[str, Any]:
    """Issues a certificate as the model, and fills the database with copies of it while nobody uses it."""
    modelled(ours, generator)
    start = time.monotonic()
    filler.fill(ours.database_url, stored, int(time.time()), AGENTS)
    return {"database": database, "stored": stored, "seconds": round(time.monotonic() - start, 1)}


def modelled(ours: Ours, generator: Generator) -> None:
    """Issues a certificate, and leaves the services stopped."""
    try:
        ours.start().stock(100)
        generator.enrol(ours.target, clients=1, seconds=0.1, warm_up=0.1)
    finally:
        ours.stop()


def _measure(
    plan: Plan,
    group: Group,
    systems: dict[tuple[str, int], Ours | Naive],
    generator: Generator,
    measured: Measured,
    say: Say,
) -> None:
    memory = [
        Memory(_title(name, group, stored), process, rss(pid))
        for (name, stored), system in systems.items()
        for process, pid in system.processes().items()
    ]
    ground = Floor(group.key, group.database)
    home = _home(systems)
    for number in range(1, plan.rounds + 1):
        for cell in group.cells():
            say(f"{group.name}: round {number} of {plan.rounds}: {describe(cell)}")
            measured.rounds[cell].append(_once(plan, cell, systems[cell.system, cell.stored], generator, measured))
        say(f"{group.name}: round {number} of {plan.rounds}: the floor")
        ground.rates.append(floor.measure(home, generator.csrs, plan.seconds))
    say(f"{group.name}: the floor of two processes")
    ground.two_processes = floor.measure(home, generator.csrs, plan.seconds, processes=2)
    measured.floors.append(ground)
    ids = [(pid, system.target.spent) for system in systems.values() for pid in system.processes().values()]
    for one, (pid, requests) in zip(memory, ids, strict=True):
        one.after, one.requests = rss(pid), requests
    measured.memory += memory


def _once(plan: Plan, cell: Cell, system: Ours | Naive, generator: Generator, measured: Measured) -> dict[str, Any]:
    earlier = [one["rate"] for one in measured.rounds[cell]]
    needed = int((_SPARE * max(earlier) if earlier else _FASTEST) * (plan.seconds + plan.warm_up)) + cell.clients
    if (missing := needed - system.target.left) > 0:
        system.stock(missing)
    return generator.enrol(
        system.target, clients=cell.clients, seconds=plan.seconds, warm_up=plan.warm_up, fresh=cell.fresh
    )


def _home(systems: dict[tuple[str, int], Ours | Naive]) -> Path:
    ours = systems[OURS, 0]
    assert isinstance(ours, Ours)
    return ours.home


def _title(name: str, group: Group, stored: int) -> str:
    return f"{name}, {group.name}" + (f", {stored:,} stored" if stored else "")


def describe(cell: Cell) -> str:
    """A cell in words, without its group."""
    stored = f", {cell.stored:,} stored" if cell.stored else ""
    return f"{cell.system}, {cell.clients} client{'s' * (cell.clients > 1)}{', fresh connections' * cell.fresh}{stored}"
