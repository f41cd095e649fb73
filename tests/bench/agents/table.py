"""The figures for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table


def show(told: dict[str, Any], console: Console) -> None:
    """Prints both tables."""
    bare = told["interpreter_ms"]
    console.print(_table("From enroll() to nginx's first answer over mutual TLS", told["starts"]))
    console.print(_table(f"An import, beyond the {bare:.0f} ms of an interpreter that does nothing", told["imports"]))


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in ("rounds", "p50 ms", "p95", "max"):
        table.add_column(name, justify="right")
    for one in rows:
        table.add_row(one["name"], str(one["rounds"]), *(f"{one[part]:.1f}" for part in ("p50_ms", "p95_ms", "max_ms")))
    return table
