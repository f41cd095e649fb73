"""`remit operator`: who may call the authority, and in which role."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from remit.cli.common import connect, default_credential, operator_options, show, show_table

ROLES = ("admin", "operator", "orchestrator", "auditor", "relying-party")


@click.group()
def operator() -> None:
    """Operators and their credentials."""


@operator.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), required=True)
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path), help="Where the credential goes [default: ./NAME]."
)
@click.option("--issuer", help="A relying party's own issuer identifier, such as https://as.example.")
@click.option("--tenant", "tenants", multiple=True, help="Whose certificates it may ask about [default: all].")
@click.option("--reasons", is_flag=True, help="It hears why a certificate is of no use.")
@click.option("--key-file", type=click.Path(path_type=Path), help="A key to show instead of its certificate goes here.")
@operator_options
def add(
    name: str,
    role: str,
    directory: Path | None,
    key_file: Path | None,
    credential: Any,
    url: str | None,
    as_json: bool,
    **party: Any,
) -> None:
    """Registers an operator and writes its credential: the key is made here and never sent."""
    from remit import files
    from remit.keys import AgentKey

    target = directory or Path(name)
    files.check(target)
    if key_file is not None and key_file.exists():
        raise click.UsageError(f"{key_file} is there already; choose another --key-file.")
    own = credential or default_credential()
    key = AgentKey.generate()
    asked = {name: value for name, value in party.items() if value} | ({"key": True} if key_file else {})
    body = {"name": name, "role": role, "csr": key.csr(), **asked}
    answer = connect(credential, url).call("POST", "/v1/operators", json=body)
    if key_file is not None:
        files.write_private(key_file, answer.pop("key").encode())
    files.write(target, files.Contents(key.pem, answer["chain"].encode(), (own / files.ROOT).read_bytes()))
    if (own / "ca.url").is_file():
        (target / "ca.url").write_text((own / "ca.url").read_text())
    show({**answer, "credential": str(target)}, as_json, ("name", "role", "serial", "not_after", "credential"))


@operator.command("list")
@operator_options
def list_operators(credential: Any, url: str | None, as_json: bool) -> None:
    """Lists all operators."""
    show_table(connect(credential, url).call("GET", "/v1/operators")["items"], as_json, ("name", "role", "created_at"))


COMMANDS = (operator,)
