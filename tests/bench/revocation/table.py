"""The figures for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.revocation.plan import FLOOR, OPENSSL, OURS

_NAMES = {
    OURS: "Remit",
    FLOOR: "the floor: bare ASGI, the same octets",
    OPENSSL: "openssl ocsp: one thread, one request a connection",
}
_LATENCIES = ("p50_ms", "p95_ms", "p99_ms", "max_ms")
_STEPS = ("read", "compare", "draft", "lint", "verify", "put")


def show(told: dict[str, Any], console: Console) -> None:
    """Prints every part that was measured."""
    for part, table in (("answers", _answers), ("lists", _lists), ("delays", _delays), ("mass", _mass)):
        if told[part]:
            console.print(table(told[part]))


def _answers(rows: list[dict[str, Any]]) -> Table:
    table = _table(
        f"OCSP answers, {rows[0]['clients']} clients on the same cores; per core: for each second of the service's CPU",
        ("", "answers", "method"),
        ("per second", "per core", "to floor", "p50 ms", "p95", "p99", "max", "try later", "errors"),
    )
    for one in rows:
        table.add_row(
            *(_NAMES[one["system"]], one["answers"], one["method"], f"{one['rate']:,.0f}"),
            *(_if_there(one["per_core"], "{:,.0f}".format), _if_there(one["to_floor"], "{:.2f}".format)),
            *(f"{one[name]:.1f}" for name in _LATENCIES),
            *(f"{one['try_later_share']:.0%}", str(one["errors"])),
        )
    return table


def _lists(rows: list[dict[str, Any]]) -> Table:
    table = _table(
        "The full CRL: seconds to publish, and memory beyond what the process held before",
        (),
        ("revoked", "whole", *_STEPS, "sign and wait", "MB", "of memory, MiB"),
    )
    for one in rows:
        steps = [one["steps"].get(step, 0.0) for step in _STEPS]
        rest = max(0.0, one["seconds"] - sum(steps))
        table.add_row(
            *(f"{one['revoked']:,}", f"{one['seconds']:.3f}", *(f"{step:.3f}" for step in steps), f"{rest:.3f}"),
            *(f"{one['octets'] / 1e6:.1f}", f"{one['memory_kib'] / 1024:.0f}"),
        )
    return table


def _delays(rows: list[dict[str, Any]]) -> Table:
    table = _table(
        "From the 200 of a revocation until the last responder knows, under load",
        ("database",),
        ("responders", "probes", "answer p50 ms", "p99", "CRL p50 ms", "p99", "asked a second", "try later", "errors"),
    )
    for one in rows:
        times = (one[f"{what}_{share}_ms"] for what in ("seen", "listed") for share in ("p50", "p99"))
        table.add_row(
            *(one["database"], str(one["responders"]), str(one["probes"]), *(f"{time:,.0f}" for time in times)),
            *_load(one["load"]),
        )
    return table


def _mass(rows: list[dict[str, Any]]) -> Table:
    table = _table(
        "Revoked by one call, and those who asked until it was in every CRL (in brackets: the same load in calm)",
        ("database",),
        (
            *("responders", "revoked", "call s", "answer ms", "CRL ms", "slowest ms", "longest gap ms"),
            *("asked a second", "try later", "errors"),
        ),
    )
    for one in rows:
        beside = (f"{one['load'][name]:,.0f} ({one['calm'][name]:,.0f})" for name in ("max_ms", "longest_gap_ms"))
        table.add_row(
            *(one["database"], str(one["responders"]), f"{one['revoked']:,}", f"{one['call_seconds']:.2f}"),
            *(f"{one['seen_ms']:,.0f}", f"{one['listed_ms']:,.0f}", *beside, *_load(one["load"])),
        )
    return table


def _load(load: dict[str, Any]) -> tuple[str, ...]:
    return f"{load['rate']:,.0f}", str(load["try_later"]), str(load["errors"])


def _if_there(value: float | None, spell: Callable[[float], str]) -> str:
    return "" if value is None else spell(value)


def _table(title: str, words: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in words:
        table.add_column(name)
    for name in numbers:
        table.add_column(name, justify="right")
    return table
