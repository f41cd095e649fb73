"""From what was seen to what is told: medians of rounds, and ratios of what ran in the same round."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, replace
from statistics import median, median_low
from typing import Any

from tests.bench.measure import Measured
from tests.bench.plan import NAIVES, OURS, Cell

_LATENCIES = ("p50_ms", "p95_ms", "p99_ms", "max_ms")
_MANY = (32, 128)


def figures(measured: Measured) -> dict[str, Any]:
    """Every figure, ready for JSON. Rates are certificates per second."""
    return {
        "machine": machine(),
        "measurements": [_told(cell, rounds) for cell, rounds in measured.rounds.items()],
        "floor": [
            {
                "database": one.database,
                "key": one.key,
                "rate": round(median(one.rates), 1),
                "rates": [round(rate, 1) for rate in one.rates],
                "rate_two_processes": round(one.two_processes, 1),
            }
            for one in measured.floors
        ],
        "memory": [asdict(one) for one in measured.memory],
        "fills": measured.fills,
        "ratios": _ratios(measured),
        **_headline(measured),
    }


def machine() -> dict[str, Any]:
    """Where it was measured."""
    return {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}


def _told(cell: Cell, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    return {**asdict(cell), **typical(rounds)}


def typical(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """What the load generator printed: the round of median rate stands for all; errors are of every round."""
    middle = median_low(one["rate"] for one in rounds)
    round_of_middle = next(one for one in rounds if one["rate"] == middle)
    return {
        "rate": round(middle, 1),
        "rates": [round(one["rate"], 1) for one in rounds],
        **{name: round_of_middle[name] for name in _LATENCIES},
        "count": sum(one["count"] for one in rounds),
        "errors": sum(one["errors"] for one in rounds),
        "first_error": next((one["first_error"] for one in rounds if one["errors"]), None),
        "load_cpu_seconds": round(sum(one["load_cpu_seconds"] for one in rounds), 2),
    }


def _ratios(measured: Measured) -> list[dict[str, Any]]:
    """Ours in every way against each naive form asked alike, the floor, and itself with nothing stored."""
    return [
        {
            **asdict(cell),
            **{f"to_{form}": ratio(_rates(measured, cell), _rates(measured, _like(cell, form))) for form in NAIVES},
            "to_floor": ratio(_rates(measured, cell), _floor(measured, cell)),
            "to_empty": ratio(_rates(measured, cell), _rates(measured, _like(cell, OURS))) if cell.stored else None,
        }
        for cell in measured.rounds
        if cell.system == OURS
    ]


def _headline(measured: Measured) -> dict[str, Any]:
    """What the project promises: SoftHSM, SQLite, nothing stored, kept connections; at the better of 32 and 128.

    `ratio_to_naive` is that to the form which FastAPI advises, in one process as `uvicorn` starts it;
    the others are `ratio_to_naive_async` and `ratio_to_naive_workers`.
    """
    cells = [Cell(OURS, "sqlite", "softhsm", 0, clients) for clients in _MANY]
    there = [cell for cell in cells if cell in measured.rounds]
    if not there:
        return dict.fromkeys((*map(_headed, NAIVES), "ratio_to_floor", "ratio_clients"))
    best = max(there, key=lambda cell: median(_rates(measured, cell)))
    return {
        **{_headed(form): ratio(_rates(measured, best), _rates(measured, _like(best, form))) for form in NAIVES},
        "ratio_to_floor": ratio(_rates(measured, best), _floor(measured, best)),
        "ratio_clients": best.clients,
    }


def _headed(form: str) -> str:
    return f"ratio_to_{form}".replace("-", "_")


def _like(cell: Cell, system: str) -> Cell:
    """The same way of asking another system, or the same one, with nothing stored."""
    return replace(cell, system=system, stored=0)


def _rates(measured: Measured, cell: Cell) -> list[float]:
    return [one["rate"] for one in measured.rounds.get(cell, [])]


def _floor(measured: Measured, cell: Cell) -> list[float]:
    same = (one.rates for one in measured.floors if (one.key, one.database) == (cell.key, cell.database))
    return next(same, [])


def ratio(ours: list[float], theirs: list[float]) -> float | None:
    """The median of the rounds' ratios; None where there is nothing to divide by."""
    pairs = [one / other for one, other in zip(ours, theirs, strict=False) if other]
    return round(median(pairs), 3) if pairs else None
