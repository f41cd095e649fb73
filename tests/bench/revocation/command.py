"""`python -m tests.bench revocation`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
from rich.console import Console

from tests.bench.databases import Databases
from tests.bench.generator import Generator
from tests.bench.options import as_json, directory, finished, picture
from tests.bench.revocation import measure, plot, table
from tests.bench.revocation.figures import figures
from tests.bench.revocation.plan import FULL, PARTS, QUICK

_CSRS = 100


@click.command()
@click.option("--quick", is_flag=True, help="Half a minute: SQLite, short rounds, 10,000 revoked.")
@click.option("--all", "everything", is_flag=True, help="A million certificates are revoked by one call.")
@click.option("--only", multiple=True, type=click.Choice(PARTS), help="These parts.")
@as_json
@picture
@directory
def revocation(
    quick: bool, everything: bool, only: tuple[str, ...], as_json: bool, picture: Path | None, directory: Path | None
) -> None:
    """OCSP answers per second, CRLs, and how long until everybody knows; beside the bare server and OpenSSL's."""
    plan = (QUICK if quick else FULL).only(only)
    if everything:
        plan = plan.whole()
    say = Console(stderr=True).log
    with tempfile.TemporaryDirectory(dir=directory) as scratch, Databases(Path(scratch)) as databases:
        say("Building the load generator")
        generator = Generator.build(Path(scratch), _CSRS)
        told = figures(measure.run(plan, Path(scratch), databases, generator, say))
    finished(told, as_json=as_json, picture=picture, show=table.show, draw=plot.draw)
