"""`python -m tests.bench`: how fast, how much memory, and where the time goes. It asserts nothing about speed."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console

from tests.bench import measure, plot, table
from tests.bench import profile as profiling
from tests.bench import soak as soaking
from tests.bench.agents.command import NoNginx, agents
from tests.bench.databases import Databases, NoPostgres
from tests.bench.figures import figures
from tests.bench.generator import Generator, NoGo
from tests.bench.hook.command import hook
from tests.bench.options import as_json, console, directory, finished, picture
from tests.bench.plan import FULL, QUICK
from tests.bench.revocation.command import revocation
from tests.bench.services import Ours


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def bench() -> None:
    """Measures this checkout, in one run beside a naive application and the bare cryptography."""


@bench.command()
@click.option("--quick", is_flag=True, help="Half a minute: SQLite and SoftHSM, short rounds, 200,000 stored.")
@as_json
@picture
@click.option("--only", multiple=True, help="Groups with this in their name, such as sqlite-softhsm or memory.")
@click.option("--stored", multiple=True, type=int, help="Stored certificates instead of the plan's; 0 for none.")
@click.option("--soak", type=float, metavar="SECONDS", help="Then runs that long at full rate and watches memory.")
@directory
def issuance(
    quick: bool,
    as_json: bool,
    picture: Path | None,
    only: tuple[str, ...],
    stored: tuple[int, ...],
    soak: float | None,
    directory: Path | None,
) -> None:
    """Certificates per second and latency over HTTPS, ours and naive, the floor, and memory."""
    plan = (QUICK if quick else FULL).only(only)
    if stored:
        plan = plan.sized(tuple(filter(None, stored)))
    say = Console(stderr=True).log
    with tempfile.TemporaryDirectory(dir=directory) as scratch, Databases(Path(scratch)) as databases:
        say("Building the load generator and its requests")
        generator = Generator.build(Path(scratch), plan.csrs)
        told = figures(measure.run(plan, Path(scratch), databases, generator, say))
        told["soak"] = soaking.soak(Path(scratch), generator, soak, say) if soak else None
    finished(told, as_json=as_json, picture=picture, show=table.show, draw=plot.draw)


@bench.command()
@click.option("--clients", default=32, show_default=True)
@click.option("--seconds", default=10.0, show_default=True, help="Of each half: undisturbed, then watched.")
@click.option("--database", default="sqlite", show_default=True, type=click.Choice(["sqlite", "postgresql"]))
@click.option("--key", default="softhsm", show_default=True, type=click.Choice(["softhsm", "memory"]))
@click.option("--stored", default=0, show_default=True, help="Certificates stored beforehand.")
@click.option("--gil", is_flag=True, help="Only what holds the interpreter's lock.")
@directory
def profile(
    clients: int, seconds: float, database: str, key: str, stored: int, gil: bool, directory: Path | None
) -> None:
    """Where the time of one certificate goes, by thread and function."""
    with tempfile.TemporaryDirectory(dir=directory) as scratch, Databases(Path(scratch)) as databases:
        generator = Generator.build(Path(scratch), QUICK.csrs)
        ours = Ours(Path(scratch) / "ours", key, databases.new(database, "profile"), workers=1).init()
        try:
            if stored:
                measure.filled(ours, stored, generator, database)
            ours.start()
            profiling.profile(ours, generator, clients=clients, seconds=seconds, gil=gil, console=console())
        finally:
            ours.stop()


bench.add_command(agents)
bench.add_command(revocation)
bench.add_command(hook)


def main() -> None:
    """Exits 1 with one sentence where something is missing."""
    # Nobody's settings may leak into what is measured.
    for name in [name for name in os.environ if name.startswith(("REMIT_", "SOFTHSM"))]:
        del os.environ[name]
    try:
        bench.main(standalone_mode=True)
    except (NoGo, NoNginx, NoPostgres, plot.NoMatplotlib, profiling.NoPySpy) as error:
        click.echo(f"bench: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
