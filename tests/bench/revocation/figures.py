"""From what was seen to what is told: medians of rounds, ratios within rounds, percentiles of probes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from statistics import median
from typing import Any

from tests.bench.figures import machine, ratio, typical
from tests.bench.revocation.answers import Rounds
from tests.bench.revocation.measure import Measured
from tests.bench.revocation.plan import FLOOR, NONCE, Cell

_MS = 1000


def figures(measured: Measured) -> dict[str, Any]:
    """Every figure, ready for JSON."""
    return {
        "machine": machine(),
        "answers": [_answers(measured.answers, cell) for cell in measured.answers],
        "lists": [_list(one) for one in measured.lists],
        "delays": [_delay(one) for one in measured.delays],
        "mass": [_mass(one) for one in measured.mass],
    }


def percentile(values: Sequence[float], share: float) -> float:
    """What this share of the values did not exceed, as the load generator has it; the greatest of too few for it."""
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def _answers(all_rounds: Rounds, cell: Cell) -> dict[str, Any]:
    """`to_floor` compares costs, not rates: who is asked faster leaves less of the cores to who asks."""
    rounds = all_rounds[cell]
    later = sum(one["try_later"] for one in rounds)
    # What is put off costs next to nothing, so it would flatter the mean.
    costs = [] if cell.answers == NONCE else [one["per_core"] for one in rounds]
    floor = [one["per_core"] for one in all_rounds.get(replace(cell, system=FLOOR), [])]
    return {
        **asdict(cell),
        **typical(rounds),
        "clients": rounds[0]["clients"],
        "per_core": round(median(costs), 1) if costs else None,
        "to_floor": None if cell.system == FLOOR else ratio(costs, floor),
        "try_later_share": round(later / max(1, later + sum(one["count"] for one in rounds)), 3),
    }


def _list(seen: dict[str, Any]) -> dict[str, Any]:
    publications = seen["publications"]
    steps = {step: median(one["steps"][step] for one in publications) for step in publications[0]["steps"]}
    return {
        "revoked": seen["revoked"],
        "seconds": round(median(one["seconds"] for one in publications), 4),
        "steps": {step: round(seconds, 4) for step, seconds in steps.items()},
        "octets": publications[0]["octets"],
        "memory_kib": max(one["memory"] for one in publications),
    }


def _delay(seen: dict[str, Any]) -> dict[str, Any]:
    return {
        **{name: seen[name] for name in ("database", "responders", "load")},
        "probes": len(seen["seen"]),
        **{f"{name}_p50_ms": round(percentile(seen[name], 0.5) * _MS, 1) for name in ("seen", "listed")},
        **{f"{name}_p99_ms": round(percentile(seen[name], 0.99) * _MS, 1) for name in ("seen", "listed")},
        **{f"{name}_ms": [round(one * _MS, 1) for one in seen[name]] for name in ("seen", "listed")},
    }


def _mass(seen: dict[str, Any]) -> dict[str, Any]:
    return {
        **{name: seen[name] for name in ("database", "responders", "revoked", "calm", "load")},
        "call_seconds": round(seen["call"], 3),
        "seen_ms": round(seen["seen"] * _MS, 1),
        "listed_ms": round(seen["listed"] * _MS, 1),
    }
