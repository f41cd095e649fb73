"""`python -m tests.bench agents`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
from rich.console import Console

from tests import nginx
from tests.bench.agents import table
from tests.bench.agents.figures import figures
from tests.bench.agents.measure import run
from tests.bench.options import as_json, directory, finished

_ROUNDS, _QUICK_ROUNDS = 100, 20


class NoNginx(Exception):  # noqa: N818 (said to a person as it is)
    """There is no server to ask: one sentence with the mend."""


@click.command()
@click.option("--quick", is_flag=True, help=f"{_QUICK_ROUNDS} rounds of each instead of {_ROUNDS}.")
@as_json
@directory
def agents(quick: bool, as_json: bool, directory: Path | None) -> None:
    """From `Agent.enroll(...)` to nginx's first answer over mutual TLS, and what an import costs."""
    if nginx.installed() is None:
        raise NoNginx(nginx.MISSING)
    say = Console(stderr=True).log
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        told = figures(run(Path(scratch), _QUICK_ROUNDS if quick else _ROUNDS, say))
    finished(told, as_json=as_json, picture=None, show=table.show, draw=lambda _told, _picture: None)
