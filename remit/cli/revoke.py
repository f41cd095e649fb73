"""`remit revoke`: one certificate by its serial, or all of an agent or a task."""

from __future__ import annotations

from typing import Any

import click

from remit.cli.common import REASONS, connect, operator_options, show, tenant_option


@click.command()
@click.argument("serial", required=False)
@click.option("--agent", help="All live certificates of this agent.")
@click.option("--task", help="All live certificates for this task.")
@click.option("--reason", type=click.Choice(REASONS), default="unspecified", show_default=True)
@click.option("--dry-run", is_flag=True, help="Only say which they would be.")
@tenant_option
@operator_options
def revoke(
    serial: str | None,
    agent: str | None,
    task: str | None,
    reason: str,
    dry_run: bool,
    tenant: str | None,
    credential: Any,
    url: str | None,
    as_json: bool,
) -> None:
    """Revokes the certificate SERIAL, or every live one of an agent or a task."""
    if sum(named is not None for named in (serial, agent, task)) != 1:
        raise click.UsageError("Name exactly one of SERIAL, --agent and --task.")
    if serial is not None and dry_run:
        raise click.UsageError("--dry-run goes with --agent or --task.")
    client = connect(credential, url)
    if serial is not None:
        answer = client.call("POST", f"/v1/certificates/{serial}/revoke", json={"reason": reason})
        show(answer, as_json, ("serial", "state", "revoked_at", "reason", "holder", "task"))
        return
    body = {"agent": agent, "task": task, "tenant": tenant, "reason": reason, "dry_run": dry_run}
    answer = client.call("POST", "/v1/revocations", json=body)
    if not as_json:
        click.echo(
            f"{'Would revoke' if dry_run else 'Revoked'} {answer['count']}, reason {answer['reason']}.", err=True
        )
    show(answer, as_json, ("serials",))


COMMANDS = (revoke,)
