"""`remit revoke`, `hold` and `release`: one certificate by its serial, or all of an agent, a task, a key, a lineage."""

from __future__ import annotations

import sys
from typing import Any

import click

from remit.cli.common import REASONS, connect, operator_options, show, show_table, tenant_option

_COMPROMISE = "keyCompromise"
_ONE = ("serial", "state", "revoked_at", "reason", "holder", "task")
_PROPOSAL = ("proposal", "count", "reason", "agent", "task", "tenant", "proposed_by", "expires_at")


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
@click.option("--descendants-of", metavar="SERIAL", help="All that was delegated from this certificate, however far.")
@click.option("--reason", type=click.Choice(REASONS), help="[default: unspecified; with --key keyCompromise]")
@click.option("--dry-run", is_flag=True, help="Only say which they would be.")
@click.option("--confirm", metavar="PROPOSAL", help="Carry out what another operator proposed.")
@click.option("--waiting", is_flag=True, help="Show the proposals that wait for a second operator.")
@tenant_option
@operator_options
def revoke(
    serial: str | None,
    reason: str | None,
    dry_run: bool,
    confirm: str | None,
    waiting: bool,
    credential: Any,
    url: str | None,
    as_json: bool,
    **named: str | None,
) -> None:
    """Revokes the certificate SERIAL, or every live one of an agent, a task, a key, a lineage, or a whole tenant.

    Whatever was delegated from one that is revoked is revoked with it; --dry-run draws that as a tree first.
    The reason keyCompromise also blocks the keys for good, and revokes whatever else is live for them.
    """
    targets = [serial, named["agent"], named["task"], named["key"], named["descendants_of"], confirm, waiting or None]
    given = sum(one is not None for one in targets)
    if given > 1 or (not given and named["tenant"] is None):
        raise click.UsageError("Name one of SERIAL, --agent, --task, --key, --descendants-of, or --tenant alone.")
    if dry_run and (confirm or waiting):
        raise click.UsageError("--dry-run goes with what is to be revoked.")
    client = connect(credential, url)
    if waiting:
        show_table(client.call("GET", "/v1/revocations/proposals")["items"], as_json, _PROPOSAL)
    elif serial is not None and not dry_run:
        why = {"reason": reason or "unspecified"}
        show(client.call("POST", f"/v1/certificates/{serial}/revoke", json=why), as_json, _ONE)
    elif confirm is not None:
        _tell(client.call("POST", f"/v1/revocations/proposals/{confirm}/confirm"), as_json)
    else:
        if named["key"] is not None:
            named["key"] = _digest(named["key"])
        body = {**named, "serial": serial, "reason": reason, "dry_run": dry_run}
        _tell(client.call("POST", "/v1/revocations", json=body), as_json)


@click.command()
@click.argument("serial")
@operator_options
def hold(serial: str, credential: Any, url: str | None, as_json: bool) -> None:
    """Puts the certificate SERIAL on hold: refused everywhere, until it is released."""
    show(connect(credential, url).call("POST", f"/v1/certificates/{serial}/hold"), as_json, _ONE)


@click.command()
@click.argument("serial")
@operator_options
def release(serial: str, credential: Any, url: str | None, as_json: bool) -> None:
    """Takes a hold of the certificate SERIAL away."""
    show(connect(credential, url).call("POST", f"/v1/certificates/{serial}/release"), as_json, _ONE)


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


def _tell(answer: dict[str, Any], as_json: bool) -> None:
    """What was done, or would be, as a tree; a proposal ends with status 1, since nothing is revoked yet."""
    if as_json:
        show(answer, as_json)
    elif "proposal" in answer:
        click.echo(
            f"Nothing is revoked yet: {answer['count']} are more than one operator may revoke. Until "
            f"{answer['expires_at']} another operator can run: remit revoke --confirm {answer['proposal']}",
            err=True,
        )
    else:
        click.echo(_sentence(answer), err=True)
        _draw(answer)
    if "proposal" in answer:
        sys.exit(1)


def _sentence(answer: dict[str, Any]) -> str:
    done, blocked = ("Would revoke", "would block") if answer["dry_run"] else ("Revoked", "blocked")
    keys = f"; {blocked} {len(answer['blocked_keys'])} key(s)" if answer["reason"] == _COMPROMISE else ""
    shown = len(answer["serials"])
    rest = f" The oldest {shown} are shown." if shown < answer["count"] else ""
    return f"{done} {answer['count']}, reason {answer['reason']}{keys}.{rest}"


def _draw(answer: dict[str, Any]) -> None:
    for node in answer["tree"]:
        _branch(node, "", "")
    for key in answer["blocked_keys"]:
        click.echo(f"key {key}")


def _branch(node: dict[str, Any], first: str, rest: str) -> None:
    """A certificate, and below it what was delegated from it."""
    task = f"  task {node['task']}" if node["task"] else ""
    click.echo(f"{first}{node['serial']}  {node['holder']}{task}")
    children = node["children"]
    for child in children[:-1]:
        _branch(child, f"{rest}├─ ", f"{rest}│  ")
    for child in children[-1:]:
        _branch(child, f"{rest}└─ ", f"{rest}   ")


COMMANDS = (revoke, hold, release)
