"""`remit revoke`: one certificate by its serial, or all of an agent, a task or a key."""

from __future__ import annotations

from typing import Any

import click

from remit.cli.common import REASONS, connect, operator_options, show, tenant_option

_COMPROMISE = "keyCompromise"


@click.command()
@click.argument("serial", required=False)
@click.option("--agent", help="All live certificates of this agent.")
@click.option("--task", help="All live certificates for this task.")
@click.option(
    "--key",
    metavar="SHA256|FILE",
    help="All live certificates of this key: SHA-256 of its SubjectPublicKeyInfo, or a file with the key, a CSR or a "
    "certificate. The file stays here.",
)
@click.option("--reason", type=click.Choice(REASONS), help="[default: unspecified; with --key keyCompromise]")
@click.option("--dry-run", is_flag=True, help="Only say which they would be.")
@tenant_option
@operator_options
def revoke(
    serial: str | None,
    reason: str | None,
    dry_run: bool,
    credential: Any,
    url: str | None,
    as_json: bool,
    **named: str | None,
) -> None:
    """Revokes the certificate SERIAL, or every live one of an agent, a task or a key.

    The reason keyCompromise also blocks the keys for good, and revokes whatever else is live for them.
    """
    if sum(one is not None for one in (serial, named["agent"], named["task"], named["key"])) != 1:
        raise click.UsageError("Name exactly one of SERIAL, --agent, --task and --key.")
    if serial is not None and dry_run:
        raise click.UsageError("--dry-run goes with --agent, --task or --key.")
    if serial is not None:
        body = {"reason": reason or "unspecified"}
        answer = connect(credential, url).call("POST", f"/v1/certificates/{serial}/revoke", json=body)
        show(answer, as_json, ("serial", "state", "revoked_at", "reason", "holder", "task"))
        return
    if named["key"] is not None:
        named["key"] = _digest(named["key"])
    answer = connect(credential, url).call(
        "POST", "/v1/revocations", json={**named, "reason": reason, "dry_run": dry_run}
    )
    if not as_json:
        click.echo(_sentence(answer), err=True)
    show(answer, as_json, ("serials", "blocked_keys"))


def _digest(key: str) -> str:
    """The digest that was given, or that of the key in the file that was named."""
    from pathlib import Path

    from remit.keys import spki_sha256

    file = Path(key)
    if not file.is_file():
        return key
    digest = spki_sha256(file.read_bytes())
    if digest is None:
        raise click.UsageError(f"{file} holds no key, CSR or certificate in PEM or DER that can be read.")
    return digest


def _sentence(answer: dict[str, Any]) -> str:
    done, blocked = ("Would revoke", "would block") if answer["dry_run"] else ("Revoked", "blocked")
    keys = f"; {blocked} {len(answer['blocked_keys'])} key(s)" if answer["reason"] == _COMPROMISE else ""
    return f"{done} {answer['count']}, reason {answer['reason']}{keys}."


COMMANDS = (revoke,)
