"""The pure parts of the benchmark of revocation."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

from cryptography import x509
from rich.console import Console

from ca.store.replicas import OCTETS
from ocsp.request import issuer_hashes, parse
from tests.bench.revocation import plot, table
from tests.bench.revocation.figures import figures, percentile
from tests.bench.revocation.floor import Floor
from tests.bench.revocation.load import Background
from tests.bench.revocation.measure import Measured
from tests.bench.revocation.plan import CACHED, FLOOR, FULL, GET, MASS, MILLION, NONCE, OURS, POST, QUICK, Cell
from tests.bench.revocation.publishing import Stopwatch
from tests.bench.revocation.questions import questions, write
from tests.bench.revocation.responders import signatory

_ISSUER = x509.load_pem_x509_certificate(signatory(datetime(2026, 1, 1, tzinfo=UTC)))
_SERIALS = [bytes([OCTETS[0]]) + bytes(17) + bytes([number]) for number in (7, 8, 9)]


def _seen(rate: float, per_core: float, try_later: int = 0) -> dict[str, Any]:
    latencies = {"p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0, "max_ms": 4.0, "longest_gap_ms": 5.0}
    counts = {"count": int(rate), "errors": 0, "try_later": try_later, "clients": 32}
    return {"rate": rate, "load_cpu_seconds": 0.1, "per_core": per_core, **counts, **latencies}


def _measured() -> Measured:
    load = Background([_seen(400, 0)]).told()
    probes = {"seen": [0.01, 0.02, 0.03], "listed": [0.1, 0.2, 0.4], "load": load}
    mass = {"revoked": 5, "call": 1.5, "seen": 0.02, "listed": 0.3, "calm": load, "load": load}
    place = {"database": "sqlite", "responders": 1}
    publications = [
        {"seconds": seconds, "steps": {"read": 0.1}, "octets": 40, "memory": kib}
        for seconds, kib in ((0.2, 2048), (0.9, 1024), (0.3, 1024))
    ]
    return Measured(
        answers={
            # The machine slowed down by half in the second round; the ratio did not.
            Cell(OURS, CACHED, POST): [_seen(800, 8000), _seen(400, 4000), _seen(880, 8800)],
            Cell(FLOOR, CACHED, POST): [_seen(1000, 10_000), _seen(500, 5000), _seen(1100, 11_000)],
            Cell(OURS, NONCE, GET): [_seen(300, 9000, try_later=100)],
        },
        lists=[{"revoked": 1, "publications": publications}],
        delays=[place | probes],
        mass=[place | mass],
    )


def test_the_ratio_to_the_floor_is_that_of_the_same_round() -> None:
    ours, floor, nonce = figures(_measured())["answers"]
    assert (ours["rate"], ours["per_core"], ours["to_floor"]) == (800, 8000, 0.8)
    assert floor["to_floor"] is None
    assert (nonce["per_core"], nonce["to_floor"], nonce["try_later_share"]) == (None, None, 0.25)


def test_a_list_is_told_by_its_median_time_and_its_greatest_memory() -> None:
    [told] = figures(_measured())["lists"]
    assert (told["seconds"], told["steps"], told["memory_kib"]) == (0.3, {"read": 0.1}, 2048)


def test_delays_are_told_by_percentile() -> None:
    [told] = figures(_measured())["delays"]
    assert (told["seen_p50_ms"], told["seen_p99_ms"], told["listed_p99_ms"]) == (20.0, 30.0, 400.0)
    assert [percentile(range(200), share) for share in (0.5, 0.99, 1)] == [100, 198, 199]


def test_several_loads_are_told_by_sums_and_by_the_worst() -> None:
    told = Background([_seen(400, 0), _seen(300, 0, try_later=2) | {"max_ms": 9.0}]).told()
    assert (told["rate"], told["try_later"], told["max_ms"], told["first_error"]) == (700, 2, 9.0, None)


def test_every_part_is_shown_and_drawn(tmp_path: Path) -> None:
    told = figures(_measured())
    console = Console(file=StringIO(), width=200, record=True)
    table.show(told, console)
    shown = console.export_text()
    for words in ("OCSP answers", "The full CRL", "From the 200", "Revoked by one call"):
        assert words in shown
    table.show(figures(Measured()), console)
    plot.draw(figures(Measured()), tmp_path / "nothing.png")
    plot.draw(told, tmp_path / "figures.png")
    assert (tmp_path / "figures.png").read_bytes().startswith(b"\x89PNG")


def test_the_full_plan_has_everything_that_was_promised() -> None:
    assert {(place.database, place.responders) for place in FULL.places} == {("sqlite", 1), ("postgresql", 4)}
    assert FULL.listed == (10_000, 100_000, MILLION)
    assert FULL.whole().mass == MILLION
    assert QUICK.only((MASS,)).parts == (MASS,)
    assert QUICK.only(()).parts == FULL.parts


def test_questions_are_what_a_responder_reads(tmp_path: Path) -> None:
    plain = [parse(der) for der in questions(_ISSUER, _SERIALS)]
    with_nonces = [parse(der) for der in questions(_ISSUER, _SERIALS, nonces=True)]
    for asked in (plain, with_nonces):
        assert [one.certificates[0].serial.to_bytes(19, "big") for one in asked] == _SERIALS
        assert {one.certificates[0].issuer for one in asked} == {next(issuer_hashes(_ISSUER))}
    assert {one.nonce for one in plain} == {None}
    assert len({one.nonce for one in with_nonces}) == len(_SERIALS)
    assert all(one.nonce and len(one.nonce) == 32 for one in with_nonces)
    assert len(write(tmp_path / "asked", questions(_ISSUER, _SERIALS)).read_text().split()) == len(_SERIALS)


def test_the_floor_answers_whatever_it_is_asked() -> None:
    said: list[Any] = []
    parts = iter([{"type": "http.request", "more_body": True}, {"type": "http.request", "more_body": False}])

    async def receive() -> Any:
        return next(parts)

    async def send(message: Any) -> None:
        said.append(message)

    floor = Floor([("Content-Type", "text/plain")], b"said")
    asyncio.run(floor({"type": "http", "method": "POST"}, receive, send))
    assert not list(parts)
    assert (said[0]["headers"], said[1]["body"]) == ([(b"content-type", b"text/plain")], b"said")


def test_a_stopwatch_adds_up_what_a_step_takes() -> None:
    stopwatch = Stopwatch()
    double = stopwatch.timed("doubling", lambda number: number * 2)
    assert [double(1), double(2)] == [2, 4]
    assert set(stopwatch.seconds) == {"doubling"}
    assert stopwatch.seconds["doubling"] > 0
