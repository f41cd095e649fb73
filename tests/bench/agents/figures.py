"""From seconds of rounds to what is told."""

from __future__ import annotations

from typing import Any

from tests.bench.agents.measure import NOTHING
from tests.bench.figures import machine
from tests.bench.revocation.figures import percentile


def figures(measured: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    """Every figure in milliseconds, ready for JSON. Imports are beyond what the bare interpreter takes."""
    bare = percentile(measured["imports"][NOTHING], 0.5)
    beyond = {name: [one - bare for one in rounds] for name, rounds in measured["imports"].items() if name != NOTHING}
    return {
        "machine": machine(),
        "interpreter_ms": round(bare * 1000, 1),
        "imports": [_told(name, rounds) for name, rounds in beyond.items()],
        "starts": [_told(name, rounds) for name, rounds in measured["starts"].items()],
    }


def _told(name: str, rounds: list[float]) -> dict[str, Any]:
    latencies = {f"p{part}_ms": round(percentile(rounds, part / 100) * 1000, 1) for part in (50, 95)}
    return {"name": name, "rounds": len(rounds), **latencies, "max_ms": round(max(rounds) * 1000, 1)}
