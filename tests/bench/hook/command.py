"""`python -m tests.bench hook`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from tests.bench.generator import Generator
from tests.bench.hook import measure
from tests.bench.options import as_json, console, directory

_NAMES = {measure.HOOK: "introspect", measure.FLOOR: "the floor: bare ASGI over TLS, the same octets"}
_LATENCIES = ("p50_ms", "p99_ms", "max_ms")


@click.command()
@click.option("--quick", is_flag=True, help="Half a minute: 20,000 stored.")
@as_json
@directory
def hook(quick: bool, as_json: bool, directory: Path | None) -> None:
    """What the authorization server's hook answers a second, and how soon it refuses what is revoked."""
    say = Console(stderr=True).log
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        say("Building the load generator")
        generator = Generator.build(Path(scratch), 100)
        told = measure.run(measure.QUICK if quick else measure.FULL, Path(scratch), generator, say)
    if as_json:
        print(json.dumps(told, indent=2))
    else:
        show(told, console())


def show(told: dict[str, Any], to: Console) -> None:
    """Prints what was measured."""
    title = f"{told['stored']:,} stored, one worker; per core: for each second of the process's CPU"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in ("clients", "per second", "per core", "to floor", "p50 ms", "p99", "max", "errors"):
        table.add_column(name, justify="right")
    for one in told["answers"]:
        table.add_row(
            *(_NAMES[one["system"]], str(one["clients"]), f"{one['rate']:,.0f}", f"{one['per_core']:,.0f}"),
            "" if one["to_floor"] is None else f"{one['to_floor']:.2f}",
            *(f"{one[name]:.1f}" for name in _LATENCIES),
            str(one["errors"]),
        )
    to.print(table)
    delays = told["delays"]
    to.print(
        f"From the 200 of a revocation to the first answer that refuses, at {delays['load']:.0f} questions a second: "
        f"p50 {delays['p50_ms']} ms, p99 {delays['p99_ms']} ms, of {delays['probes']}."
    )
