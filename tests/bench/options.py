"""Options and endings that the commands share."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

_WIDE = 140

as_json = click.option("--json", "as_json", is_flag=True, help="Every figure as one JSON object on standard output.")
picture = click.option(
    "--plot", "picture", type=click.Path(path_type=Path, dir_okay=False), help="Draws them into this PNG."
)
directory = click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the databases go: tens of GB for the millions.",
)


def finished(
    told: dict[str, Any],
    *,
    as_json: bool,
    picture: Path | None,
    show: Callable[[dict[str, Any], Console], None],
    draw: Callable[[dict[str, Any], Path], None],
) -> None:
    """Tells the figures in the ways that were asked for."""
    if as_json:
        print(json.dumps(told, indent=2))
    else:
        show(told, console())
    if picture is not None:
        draw(told, picture)


def console() -> Console:
    """Standard output; wide enough for the tables where nobody says how wide it is."""
    return Console() if sys.stdout.isatty() else Console(width=_WIDE)
