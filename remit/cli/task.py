"""`remit task`: what agents work on, and until when."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from remit.cli.common import connect, limit_option, moment, operator_options, show, show_table, tenant_option

FIELDS = (
    *("id", "tenant", "agent", "status", "scope", "resources", "authorization_details", "deadline"),
    *("principal", "created_at", "ended_at", "revoked"),
)


@click.group()
def task() -> None:
    """Tasks: their scope, resources and deadline. Ending one revokes its certificates."""


@task.command("open")
@click.argument("name", required=False)
@click.option("--agent", required=True, help="The agent that works on it.")
@click.option("--scope", help="Within the agent's ceiling.")
@click.option("--resource", "resources", multiple=True, help="A resource indicator (RFC 8707); may be repeated.")
@click.option(
    "--authorization-details",
    "details",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file with the JSON array of RFC 9396.",
)
@click.option("--deadline", callback=moment, help="A time, or a duration such as 8h [default: 24h].")
@click.option("--principal", metavar="ISS SUB", nargs=2, help="On whose behalf: issuer and subject.")
@tenant_option
@operator_options
def open_task(
    name: str | None,
    resources: tuple[str, ...],
    details: Path | None,
    principal: tuple[str, str] | None,
    credential: Any,
    url: str | None,
    as_json: bool,
    **body: Any,
) -> None:
    """Opens a task, named NAME or by the authority."""
    body |= {"id": name, "resources": list(resources), "authorization_details": _details(details)}
    body["principal"] = {"iss": principal[0], "sub": principal[1]} if principal else None
    show(connect(credential, url).call("POST", "/v1/tasks", json=body), as_json, FIELDS)


@task.command("list")
@click.option("--agent", help="Of this agent.")
@click.option("--status", type=click.Choice(["running", "completed", "cancelled", "expired"]))
@tenant_option
@limit_option
@operator_options
def list_tasks(
    agent: str | None,
    status: str | None,
    tenant: str | None,
    limit: int,
    credential: Any,
    url: str | None,
    as_json: bool,
) -> None:
    """Lists tasks in order of name."""
    wanted = {"agent": agent, "status": status, "tenant": tenant}
    items = connect(credential, url).pages("/v1/tasks", wanted, limit + 1)
    show_table(items, as_json, ("id", "tenant", "agent", "status", "scope", "deadline"), limit)


@task.command("show")
@click.argument("name")
@tenant_option
@operator_options
def show_task(name: str, tenant: str | None, credential: Any, url: str | None, as_json: bool) -> None:
    """Shows one task."""
    show(connect(credential, url).call("GET", f"/v1/tasks/{name}", params={"tenant": tenant}), as_json, FIELDS)


@task.command()
@click.argument("name")
@click.option("--scope", help="Within what it has.")
@click.option("--resource", "resources", multiple=True, help="Of those that it has; may be repeated.")
@click.option(
    "--authorization-details",
    "details",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file with the JSON array of RFC 9396, within those that it has.",
)
@click.option("--deadline", callback=moment, help="Earlier than it is: a time, or a duration such as 1h.")
@tenant_option
@operator_options
def narrow(
    name: str,
    scope: str | None,
    resources: tuple[str, ...],
    details: Path | None,
    deadline: str | None,
    tenant: str | None,
    credential: Any,
    url: str | None,
    as_json: bool,
) -> None:
    """Takes away from a running task; what is not named stays."""
    body = {
        "scope": scope,
        "resources": list(resources) or None,
        "authorization_details": _details(details),
        "deadline": deadline,
    }
    answer = connect(credential, url).call("PATCH", f"/v1/tasks/{name}", params={"tenant": tenant}, json=body)
    show(answer, as_json, FIELDS)


@task.command()
@click.argument("name")
@tenant_option
@operator_options
def complete(name: str, tenant: str | None, credential: Any, url: str | None, as_json: bool) -> None:
    """Ends a task as done, and revokes its certificates."""
    answer = connect(credential, url).call("POST", f"/v1/tasks/{name}/complete", params={"tenant": tenant})
    show(answer, as_json, FIELDS)


@task.command()
@click.argument("name")
@tenant_option
@operator_options
def cancel(name: str, tenant: str | None, credential: Any, url: str | None, as_json: bool) -> None:
    """Ends a task as given up, and revokes its certificates."""
    answer = connect(credential, url).call("POST", f"/v1/tasks/{name}/cancel", params={"tenant": tenant})
    show(answer, as_json, FIELDS)


def _details(file: Path | None) -> Any:
    if file is None:
        return None
    try:
        return json.loads(file.read_text())
    except ValueError as error:
        raise click.BadParameter(f"{file} is not JSON: {error}") from error


COMMANDS = (task,)
