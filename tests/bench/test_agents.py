"""The pure parts of the benchmark of an agent's start."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from tests.bench.agents import table
from tests.bench.agents.figures import figures
from tests.bench.agents.measure import COLD, GIVEN, IMPORT, NOTHING

MEASURED = {
    "imports": {NOTHING: [0.010, 0.012, 0.011], IMPORT: [0.041, 0.051, 0.031]},
    "starts": {GIVEN: [0.02, 0.03, 0.01], COLD: [0.5, 0.4, 0.3]},
}


def test_an_import_costs_what_it_adds_to_an_interpreter() -> None:
    told = figures(MEASURED)
    assert told["interpreter_ms"] == 11.0
    assert told["imports"] == [{"name": IMPORT, "rounds": 3, "p50_ms": 30.0, "p95_ms": 40.0, "max_ms": 40.0}]
    assert [(one["name"], one["p50_ms"]) for one in told["starts"]] == [(GIVEN, 20.0), (COLD, 400.0)]


def test_people_see_it_too() -> None:
    shown = StringIO()
    table.show(figures(MEASURED), Console(file=shown, width=120))
    assert GIVEN in shown.getvalue()
    assert "11 ms of an interpreter" in shown.getvalue()
