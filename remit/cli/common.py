"""What the commands share: where the authority is, with which credential, and how its answers are shown."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from remit.client import Client

_Command = TypeVar("_Command", bound=Callable[..., Any])
_DURATION = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DEFAULT_URL = "https://127.0.0.1:8443"
_WIDTH_WITHOUT_TERMINAL = 200

REASONS = (
    "unspecified",
    "keyCompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "privilegeWithdrawn",
)


def default_credential() -> Path:
    """The admin's credential that `remit init` wrote."""
    return Path(os.environ.get("REMIT_HOME", "var")) / "operators" / "admin"


def operator_options(command: _Command) -> _Command:
    """`--credential`, `--ca` and `--json`, for every command that calls the API."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Answer in JSON."),
        click.option("--ca", "url", envvar="REMIT_CA", help="The authority's URL [default: as the credential says]."),
        click.option(
            "--credential",
            type=click.Path(path_type=Path, file_okay=False),
            envvar="REMIT_CREDENTIAL",
            help="Directory with tls.key, tls.crt, ca.crt [default: $REMIT_HOME/operators/admin].",
        ),
    ):
        command = option(command)
    return command


def tenant_option(command: _Command) -> _Command:
    """`--tenant`."""
    return click.option("--tenant", help="The tenant [default: default].")(command)


def limit_option(command: _Command) -> _Command:
    """`--limit`."""
    return click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many.")(
        command
    )


def connect(credential: Path | None, url: str | None) -> Client:
    """A client with the operator's credential. Raises `remit.Failed`."""
    from remit.client import Client

    directory = credential or default_credential()
    return Client.with_credential(url or _url_of(directory), directory)


def show(answer: Any, as_json: bool, fields: Sequence[str] | None = None) -> None:
    """One thing: JSON, or a line a field."""
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    names = [name for name in (fields or answer) if answer.get(name) not in (None, "", [])]
    width = max(map(len, names), default=0)
    for name in names:
        click.echo(f"{name.replace('_', ' '):<{width}}  {words(answer[name])}")


def show_table(items: list[Any], as_json: bool, columns: Sequence[str], limit: int | None = None) -> None:
    """Many things, `limit` of them: JSON, or a table; that it is empty, or that there are more, is said on stderr."""
    if limit is not None and len(items) > limit:
        click.echo(f"There are more than these {limit}; --limit shows more.", err=True)
        items = items[:limit]
    if as_json:
        click.echo(json.dumps(items, indent=2))
        return
    if not items:
        click.echo("None found.", err=True)
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH_WITHOUT_TERMINAL
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " ").upper(), overflow="fold", no_wrap=column in ("serial", "id"))
    for item in items:
        table.add_row(*(words(item.get(column)) for column in columns))
    console.print(table)


def words(value: Any) -> str:
    """A value as a person reads it."""
    match value:
        case None:
            return "-"
        case list():
            return ", ".join(map(words, value))
        case dict():
            return json.dumps(value)
        case _:
            return str(value)


def length(time: timedelta) -> str:
    """A length of time in its two largest units, such as `14 min 3 s`."""
    minutes, seconds_left = divmod(int(time.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds_left} s"


def clock() -> datetime:
    """The command's own clock, UTC."""
    return datetime.now(UTC)  # noqa: TID251 (where the command reads it)


def seconds(_context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """A duration such as 30s, 5m, 8h or 2d, in seconds."""
    if value is None:
        return None
    given = _duration(value)
    if given is None:
        raise click.BadParameter("a duration is a number and s, m, h or d, such as 15m", param=parameter)
    return int(given.total_seconds())


def moment(_context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """RFC 3339, or a duration from now, as RFC 3339."""
    if value is None:
        return None
    ahead = _duration(value)
    if ahead is not None:
        return (clock() + ahead).strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        if datetime.fromisoformat(value).tzinfo is not None:
            return value
    except ValueError:
        pass
    raise click.BadParameter("give a time such as 2026-12-31T18:00:00Z, or a duration such as 8h", param=parameter)


def listener(_context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, int] | None:
    """HOST:PORT, as both; an IPv6 address stands in brackets."""
    if value is None:
        return None
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise click.BadParameter("an address is HOST:PORT, such as 127.0.0.1:9464", param=parameter)
    return host.strip("[]"), int(port)


def _duration(text: str) -> timedelta | None:
    match = _DURATION.fullmatch(text)
    return timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None


def _url_of(directory: Path) -> str:
    try:
        return (directory / "ca.url").read_text().strip()
    except OSError:
        return _DEFAULT_URL
