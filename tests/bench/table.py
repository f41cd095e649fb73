"""The figures for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

_RATIOS = ("to naive", "to naive-async", "to naive-workers", "to floor")
_PLACES = {"softhsm": "SoftHSM", "memory": "memory"}


def show(told: dict[str, Any], console: Console) -> None:
    """Prints every figure and what they say together."""
    for database, key in dict.fromkeys((one["database"], one["key"]) for one in told["measurements"]):
        console.print(_rates(told, database, key))
    console.print(_floor(told))
    console.print(_memory(told))
    for line in _sentences(told):
        console.print(line, soft_wrap=True)


def _rates(told: dict[str, Any], database: str, key: str) -> Table:
    table = Table(title=f"Certificates over HTTPS: {database}, key in {_PLACES[key]}", title_justify="left")
    for name in ("", "stored", "connections"):
        table.add_column(name)
    for name in ("clients", "per second", "p50 ms", "p95", "p99", "max", *_RATIOS, "errors"):
        table.add_column(name, justify="right")
    ratios = {_name(one): one for one in told["ratios"]}
    for one in told["measurements"]:
        if (one["database"], one["key"]) == (database, key):
            ratio = ratios.get(_name(one), {})
            table.add_row(
                *(one["system"], f"{one['stored']:,}", "fresh" if one["fresh"] else "kept", str(one["clients"])),
                *(f"{one['rate']:,.0f}", *_milliseconds(one)),
                *(_times(ratio.get(name.replace(" ", "_"))) for name in _RATIOS),
                str(one["errors"]),
            )
    return table


def _name(one: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(one[part] for part in ("system", "database", "key", "stored", "clients", "fresh"))


def _milliseconds(one: dict[str, Any]) -> list[str]:
    return [f"{one[name]:.1f}" for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms")]


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _floor(told: dict[str, Any]) -> Table:
    table = Table(
        title="The floor: proof of possession and the CA's signature alone, no HTTP, no database",
        title_justify="left",
    )
    table.add_column("key")
    table.add_column("measured beside")
    table.add_column("one process, per second", justify="right")
    table.add_column("two processes", justify="right")
    for one in told["floor"]:
        table.add_row(one["key"], one["database"], f"{one['rate']:,.0f}", f"{one['rate_two_processes']:,.0f}")
    return table


def _memory(told: dict[str, Any]) -> Table:
    table = Table(title="Memory (RSS, MiB)", title_justify="left")
    for name in ("system", "process"):
        table.add_column(name)
    for name in ("at start", "after", "requests"):
        table.add_column(name, justify="right")
    for one in told["memory"]:
        table.add_row(
            *(one["system"], one["process"], f"{one['at_start'] / 1024:.0f}", f"{one['after'] / 1024:.0f}"),
            f"{one['requests']:,}",
        )
    return table


def _sentences(told: dict[str, Any]) -> list[str]:
    lines = [
        f"{one['stored']:,} stored, {one['database']}, {one['clients']} clients: {one['to_empty']:.2f} of the rate at 0"
        for one in told["ratios"]
        if one["to_empty"] is not None
    ]
    if told["soak"] is not None:
        lines += _soak(told["soak"])
    if told["ratio_to_naive"] is not None:
        naive, blocking, several, floor = (
            _times(told[f"ratio_to_{what}"]) for what in ("naive", "naive_async", "naive_workers", "floor")
        )
        lines.append(
            f"SoftHSM and SQLite at {told['ratio_clients']} clients: {naive} times the naive path"
            f" ({blocking} times its form that blocks the event loop, {several} times several processes of it),"
            f" {floor} of the floor"
        )
    return lines


def _soak(soak: dict[str, Any]) -> list[str]:
    lines = [
        f"Soak: {soak['requests']:,} requests, {soak['errors']} errors; an hour's worth is {soak['hours_worth']:,}"
    ]
    for one in soak["processes"]:
        start, settled, after = (f"{one[when] / 1024:.0f} MiB" for when in ("at_start", "settled", "after"))
        rise = f"{one['slope_per_hours_worth'] / 1024:.1f} MiB"
        lines.append(
            f"  {one['process']}: {start} at start, {settled} settled, {after} after; {rise} more in an hour's worth"
        )
    return lines
