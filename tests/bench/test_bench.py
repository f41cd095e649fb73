"""The benchmark runs and tells what it promises. How fast anything is, no test says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, select

from ca.store.replicas import OCTETS
from ca.store.tables import audit, certificates, enrollment_tokens
from tests.bench import measure
from tests.bench.figures import figures
from tests.bench.generator import Generator
from tests.bench.measure import Floor, Measured
from tests.bench.plan import FULL, NAIVE, NAIVE_ASYNC, OURS, QUICK, WORKERS, Cell
from tests.bench.revocation import plan as revocation
from tests.bench.services import Ours
from tests.world import CHECKOUT

needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="the load generator needs Go 1.19 or later")


def _seen(rate: float, errors: int = 0) -> dict[str, Any]:
    latencies = {"p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0, "max_ms": 4.0}
    told = {"rate": rate, "count": int(rate), "errors": errors, "load_cpu_seconds": 0.1, **latencies}
    return told | ({"first_error": "503"} if errors else {})


def test_ratios_are_medians_of_what_ran_in_the_same_round() -> None:
    ours, naive = Cell(OURS, "sqlite", "softhsm", 0, 128), Cell(NAIVE, "sqlite", "softhsm", 0, 128)
    measured = Measured()
    # The machine slowed down by half in the second round; the ratio did not.
    measured.rounds[ours] = [_seen(1000), _seen(500), _seen(1100)]
    measured.rounds[naive] = [_seen(200), _seen(100, errors=2), _seen(220)]
    measured.floors.append(Floor("softhsm", "sqlite", [2000, 1000, 2200], 4000))
    told = figures(measured)
    assert (told["ratio_to_naive"], told["ratio_to_floor"], told["ratio_clients"]) == (5.0, 0.5, 128)
    assert told["ratio_to_naive_async"] is None
    assert [one["rate"] for one in told["measurements"]] == [1000, 200]
    assert [(one["errors"], one["first_error"]) for one in told["measurements"]] == [(0, None), (2, "503")]


def test_both_naive_forms_are_told() -> None:
    measured = Measured()
    for system, rate in ((OURS, 1000.0), (NAIVE, 200.0), (NAIVE_ASYNC, 250.0)):
        measured.rounds[Cell(system, "sqlite", "softhsm", 0, 32)] = [_seen(rate)]
    told = figures(measured)
    assert (told["ratio_to_naive"], told["ratio_to_naive_async"]) == (5.0, 4.0)
    assert (told["ratios"][0]["to_naive"], told["ratios"][0]["to_naive-async"]) == (5.0, 4.0)


def test_the_ratio_to_nothing_stored_is_that_of_the_same_round() -> None:
    empty, full = Cell(OURS, "sqlite", "softhsm", 0, 32), Cell(OURS, "sqlite", "softhsm", 5_000_000, 32)
    measured = Measured()
    measured.rounds[empty], measured.rounds[full] = [_seen(1000)], [_seen(950)]
    ratios = {one["stored"]: one["to_empty"] for one in figures(measured)["ratios"]}
    assert ratios == {0: None, 5_000_000: 0.95}


def test_the_full_plan_has_every_way_that_was_promised() -> None:
    cells = [cell for group in FULL.groups for cell in group.cells()]
    assert {(cell.database, cell.key) for cell in cells} == {
        (database, key) for database in ("sqlite", "postgresql") for key in ("softhsm", "memory")
    }
    assert {cell.clients for cell in cells} == {1, 32, 128}
    assert {cell.stored for cell in cells} == {0, 1_000_000, 5_000_000}
    assert {cell.fresh for cell in cells} == {False, True}
    assert [group.name for group in FULL.only(("memory",)).groups] == ["sqlite-memory", "postgresql-memory"]
    assert QUICK.sized((7,)).groups[0].stored == (0, 7)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Ours:
    """An authority with some certificates that were issued and two thousand that were filled in, not running."""
    directory = tmp_path_factory.mktemp("filled")
    ours = Ours(directory / "ours", "softhsm").init()
    measure.filled(ours, 2000, Generator.build(directory, 500), "sqlite")
    return ours


@needs_go
@pytest.mark.slow
def test_what_is_filled_in_is_as_issuance_leaves_it(filled: Ours) -> None:
    engine = create_engine(filled.database_url)
    with engine.connect() as connection:
        rows = connection.execute(select(certificates).where(certificates.c.kind == "agent")).all()
        spent = set(connection.execute(select(enrollment_tokens.c.spent_on)).scalars()) - {None}
        entries = list(connection.execute(select(audit.c.serial, audit.c.action)))
    engine.dispose()
    serials = {row.serial for row in rows}
    assert len(serials) == len(rows) > 2000
    assert all(len(serial) == 19 and serial[0] in OCTETS for serial in serials)
    assert serials == spent
    assert len({row.x5t for row in rows} | {row.key_sha256 for row in rows}) == 2 * len(rows)
    for action in ("certificate.intend", "certificate.issue"):
        assert serials <= {bytes.fromhex(serial) for serial, did in entries if did == action and serial}
    assert sum(row.not_after.timestamp() < time.time() for row in rows) > 1900


def _told(directory: Path, *arguments: str) -> dict[str, Any]:
    """What a benchmark tells in JSON, in its quick form; it also draws `figures.png`."""
    command = [sys.executable, "-m", "tests.bench", *arguments, "--quick", "--json"]
    command += ["--plot", str(directory / "figures.png"), "--directory", str(directory)]
    done = subprocess.run(
        command,
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert (directory / "figures.png").read_bytes().startswith(b"\x89PNG")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@needs_go
@pytest.mark.slow
def test_quick_tells_every_figure(tmp_path: Path) -> None:
    told = _told(tmp_path, "issuance", "--stored", "2000", "--soak", "4")
    asked = {(cell.system, cell.stored, cell.clients, cell.fresh) for cell in QUICK.sized((2000,)).groups[0].cells()}
    seen = {tuple(one[part] for part in ("system", "stored", "clients", "fresh")) for one in told["measurements"]}
    assert seen == asked
    for one in told["measurements"]:
        assert one["errors"] == 0, one
        assert one["count"] > 0, one
        assert 0 < one["p50_ms"] <= one["p95_ms"] <= one["p99_ms"] <= one["max_ms"], one
    assert told["ratio_to_naive"] > 0
    assert told["ratio_to_naive_async"] > 0
    assert told["ratio_to_floor"] > 0
    assert told["ratio_clients"] in {32, 128}
    assert all(one["rate"] > 0 and one["rate_two_processes"] > 0 for one in told["floor"])
    several = [f"worker {number}" for number in range(1, WORKERS + 1)] if WORKERS > 1 else []
    ours = {"CA", *(f"CA, {one}" for one in several), "status service"}
    assert {one["process"] for one in told["memory"]} == ours | {
        "application",
        *(f"application, {one}" for one in several),
    }
    assert all(one["at_start"] > 0 and one["after"] > 0 for one in told["memory"])
    assert told["soak"]["errors"] == 0
    assert {one["process"] for one in told["soak"]["processes"]} == ours


@needs_go
@pytest.mark.slow
def test_quick_tells_every_figure_of_revocation(tmp_path: Path) -> None:
    told = _told(tmp_path, "revocation")
    assert {(one["system"], one["answers"], one["method"]) for one in told["answers"]} == {
        (cell.system, cell.answers, cell.method) for cell in revocation.CELLS
    }
    for one in told["answers"]:
        assert (one["errors"], one["first_error"]) == (0, None), one
        assert one["count"] > 0, one
        assert 0 < one["p50_ms"] <= one["p95_ms"] <= one["p99_ms"] <= one["max_ms"], one
        assert one["try_later_share"] == 0 or one["answers"] == revocation.NONCE, one
        assert (one["per_core"] is None) == (one["answers"] == revocation.NONCE), one
    assert all(one["to_floor"] > 0 for one in told["answers"][:2])
    plan = revocation.QUICK
    assert [one["revoked"] for one in told["lists"]] == list(plan.listed)
    assert all(one["seconds"] >= max(one["steps"].values()) > 0 for one in told["lists"])
    assert all(one["octets"] > 36 * one["revoked"] and one["memory_kib"] > 0 for one in told["lists"])
    [delay], [mass] = told["delays"], told["mass"]
    assert (delay["probes"], len(delay["seen_ms"]), len(delay["listed_ms"])) == (plan.probes,) * 3
    assert 0 < delay["seen_p50_ms"] <= delay["seen_p99_ms"] <= delay["listed_p99_ms"]
    assert mass["revoked"] >= plan.mass
    assert mass["call_seconds"] > 0
    for load in (delay["load"], mass["calm"], mass["load"]):
        assert load["count"] > 0, load
        assert (load["errors"], load["try_later"], load["first_error"]) == (0, 0, None), load
