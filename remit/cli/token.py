"""`remit token`: one-time enrolment tokens."""

from __future__ import annotations

import json
from typing import Any

import click

from remit.cli.common import connect, operator_options, seconds, tenant_option


@click.group()
def token() -> None:
    """One-time enrolment tokens."""


@token.command()
@click.option("--agent", required=True, help="The agent that may enrol with it.")
@click.option("--task", help="The task that the certificate is for.")
@click.option("--ttl", default="5m", show_default=True, callback=seconds, help="For how long it opens; at most 1h.")
@click.option("--key-thumbprint", help="SHA-256 of the one SubjectPublicKeyInfo it opens for.")
@tenant_option
@operator_options
def create(credential: Any, url: str | None, as_json: bool, **body: Any) -> None:
    """Makes a token and prints it: on stdout the token alone, about it on stderr."""
    answer = connect(credential, url).call("POST", "/v1/enrollment-tokens", json=body)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    task = f", task {answer['task']}" if answer["task"] else ""
    click.echo(f"Opens once, until {answer['expires_at']}, for agent {answer['agent']}{task}.", err=True)
    click.echo(answer["token"])


COMMANDS = (token,)
