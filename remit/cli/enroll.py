"""`remit enroll`: the agent's side. A token and a fingerprint become `tls.key`, `tls.crt` and `ca.crt`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from remit.cli.common import moment, seconds, show


@click.command()
@click.option("--ca", "url", envvar="REMIT_CA", required=True, help="The authority's URL.")
@click.option(
    "--root-fingerprint",
    envvar="REMIT_ROOT_FINGERPRINT",
    required=True,
    help="SHA-256 of its root, as 'remit init' prints it.",
)
@click.option("--token-file", type=click.File(), help="A file with the enrolment token; - is stdin.")
@click.option(
    "--token",
    envvar="REMIT_ENROLLMENT_TOKEN",
    help="The token itself; other processes can read a command line, so prefer the file.",
)
@click.option("--dir", "directory", type=click.Path(path_type=Path), required=True, help="Where the three files go.")
@click.option("--task", help="The task that the token was made for.")
@click.option("--scope", help="A narrower scope than the task's.")
@click.option("--not-after", callback=moment, help="An earlier end than policy gives: a time, or a duration.")
@click.option("--wait", default="30s", show_default=True, callback=seconds, help="How long a busy authority is tried.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON, without certificates.")
def enroll(
    url: str,
    root_fingerprint: str,
    token_file: Any,
    token: str | None,
    directory: Path,
    wait: int,
    as_json: bool,
    **asked: Any,
) -> None:
    """Makes a key here, has it certified with a one-time token, and writes the files together."""
    from remit import files
    from remit.authority import Authority
    from remit.holder import Holder
    from remit.proof import Proofs

    secret = token_file.read() if token_file is not None else token
    if secret is None:
        raise click.UsageError("Give the token by --token-file, or by --token or REMIT_ENROLLMENT_TOKEN.")
    files.check(directory)
    holder = Holder(Authority(url, root_fingerprint=root_fingerprint), Proofs(secret.strip()), asked=asked)
    credential = holder.obtain(wait)
    files.write(directory, credential.contents)
    answer = credential.said
    if as_json:
        click.echo(json.dumps({**answer, "dir": str(directory)}, indent=2))
        return
    show(
        {**answer, "files": str(directory)}, False, ("serial", "spiffe_id", "task", "not_after", "renew_after", "files")
    )


COMMANDS = (enroll,)
