"""`remit crl`: the revocation lists in force."""

from __future__ import annotations

from typing import Any

import click

from remit.cli.common import connect, operator_options, show_table

COLUMNS = ("issuer", "shard", "number", "entries", "this_update", "next_update", "url")


@click.group()
def crl() -> None:
    """Certificate revocation lists."""


@crl.command("show")
@operator_options
def show_crls(credential: Any, url: str | None, as_json: bool) -> None:
    """Shows the lists in force."""
    show_table(connect(credential, url).call("GET", "/v1/crls")["items"], as_json, COLUMNS)


@crl.command()
@operator_options
def publish(credential: Any, url: str | None, as_json: bool) -> None:
    """Signs and publishes every list anew, at once."""
    show_table(connect(credential, url).call("POST", "/v1/crls/publish")["items"], as_json, COLUMNS)


COMMANDS = (crl,)
