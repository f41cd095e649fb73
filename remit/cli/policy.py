"""`remit policy`: the operator's rules, tried before they count, on the authority's own machine or anywhere."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from remit.cli.common import seconds
from remit.cli.local import run

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def policy() -> None:
    """The operator's rules, in Cedar: they deny or shorten what would be certified."""


@policy.command()
@click.argument("file", type=_FILE)
def check(file: Path) -> None:
    """Reads FILE as the CA would; names the line and the policy that is wrong."""
    sys.exit(run("ca.rehearsal", "check", str(file)))


@policy.command()
@click.argument("file", type=_FILE)
@click.option("--since", callback=seconds, help="How far back in the audit log, such as 30d.  [default: 7d]")
@click.option("--requests", type=_FILE, help="Requests as JSON lines, in place of the audit log.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def test(file: Path, since: int | None, requests: Path | None, as_json: bool) -> None:
    """Asks FILE about the requests that were recorded; says who would get less than was granted, by which policy.

    Exit status 0 when nobody would, 1 when somebody would, 2 when it could not be tried.
    """
    if requests and since:
        raise click.UsageError("--since is about the audit log; --requests is read whole.")
    words = ["test", str(file)]
    words += ["--requests", str(requests)] if requests else []
    words += ["--since", str(since)] if since else []
    sys.exit(run("ca.rehearsal", *words, *(["--json"] if as_json else [])))


COMMANDS = (policy,)
