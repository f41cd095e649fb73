"""What is measured: groups of cells that run interleaved, and how long."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

OURS, NAIVE, NAIVE_ASYNC, NAIVE_WORKERS = "ours", "naive", "naive-async", "naive-workers"
NAIVES = (NAIVE, NAIVE_ASYNC, NAIVE_WORKERS)

WORKERS = min(os.cpu_count() or 1, 8)
"""Processes of ours, and of the naive application in the form that has several."""


@dataclass(frozen=True)
class Cell:
    """One thing to measure: who, on what, and how it is asked."""

    system: str
    database: str
    key: str
    stored: int
    clients: int
    fresh: bool = False


@dataclass(frozen=True)
class Group:
    """Cells that run side by side, on one kind of database and key: all their servers are up at the same time."""

    database: str
    key: str
    stored: tuple[int, ...] = (0,)
    clients: tuple[int, ...] = (1, 32, 128)
    stored_clients: tuple[int, ...] = (32,)
    fresh_clients: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """As `--only` selects it."""
        return f"{self.database}-{self.key}"

    def cells(self) -> list[Cell]:
        """In the order in which each round runs them: ours, then naive, for each way of asking."""
        kept = [
            Cell(system, self.database, self.key, 0, clients) for clients in self.clients for system in (OURS, *NAIVES)
        ]
        fresh = [
            Cell(system, self.database, self.key, 0, clients, fresh=True)
            for clients in self.fresh_clients
            for system in (OURS, NAIVE)
        ]
        filled = [
            Cell(OURS, self.database, self.key, stored, clients)
            for clients in self.stored_clients
            for stored in self.stored
            if stored
        ]
        return kept + fresh + filled


@dataclass(frozen=True)
class Plan:
    """Every group, and for each of its cells so many rounds of so many seconds after a warm-up."""

    groups: tuple[Group, ...]
    rounds: int
    seconds: float
    warm_up: float
    csrs: int

    def only(self, names: tuple[str, ...]) -> Plan:
        """The groups whose name contains one of `names`; all for none."""
        kept = tuple(group for group in self.groups if not names or any(name in group.name for name in names))
        return replace(self, groups=kept)

    def sized(self, stored: tuple[int, ...]) -> Plan:
        """With these numbers of stored certificates beside none, where the plan has any."""
        return replace(
            self,
            groups=tuple(
                replace(group, stored=(0, *stored)) if len(group.stored) > 1 else group for group in self.groups
            ),
        )


QUICK = Plan(
    (Group("sqlite", "softhsm", stored=(0, 200_000), clients=(1, 128), stored_clients=(128,), fresh_clients=(128,)),),
    rounds=2,
    seconds=0.7,
    warm_up=0.3,
    csrs=10_000,
)

_MILLIONS = (0, 1_000_000, 5_000_000)

FULL = Plan(
    (
        Group("sqlite", "softhsm", stored=_MILLIONS, stored_clients=(1, 32, 128), fresh_clients=(1, 32, 128)),
        Group("sqlite", "memory"),
        Group("postgresql", "softhsm", stored=_MILLIONS, stored_clients=(1, 32, 128), fresh_clients=(1, 32, 128)),
        Group("postgresql", "memory"),
    ),
    rounds=3,
    seconds=4.0,
    warm_up=1.0,
    csrs=50_000,
)
