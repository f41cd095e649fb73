"""`remit agent`: the registry of agents and their ceilings."""

from __future__ import annotations

from typing import Any

import click

from remit.cli.common import connect, limit_option, operator_options, seconds, show, show_table, tenant_option

FIELDS = (
    *("id", "tenant", "status", "spiffe_id", "scope", "max_lifetime", "max_depth", "parent"),
    *("oidc_issuer", "oidc_subject", "description", "created_at"),
)


@click.group()
def agent() -> None:
    """Agents and what they may hold at most."""


def _ceiling(command: Any) -> Any:
    for option in (
        click.option("--oidc-subject", help="Their sub, exactly: two agents never share one."),
        click.option("--oidc-issuer", help="The iss of the OIDC tokens that prove it, as remit.toml has it."),
        click.option("--max-depth", type=click.IntRange(0, 15), help="How deep it may delegate."),
        click.option("--max-lifetime", callback=seconds, help="How long a certificate may live, such as 15m."),
        click.option("--scope", help="The widest scope of its tasks, such as 'files:read tickets:write'."),
    ):
        command = option(command)
    return command


@agent.command()
@click.argument("name")
@_ceiling
@click.option("--description", default="", help="For people.")
@tenant_option
@operator_options
def add(name: str, credential: Any, url: str | None, as_json: bool, **body: Any) -> None:
    """Registers the agent NAME."""
    show(connect(credential, url).call("POST", "/v1/agents", json={"id": name, **body}), as_json, FIELDS)


@agent.command("list")
@tenant_option
@limit_option
@operator_options
def list_agents(tenant: str | None, limit: int, credential: Any, url: str | None, as_json: bool) -> None:
    """Lists agents in order of name."""
    items = connect(credential, url).pages("/v1/agents", {"tenant": tenant}, limit + 1)
    show_table(items, as_json, ("id", "tenant", "status", "scope", "max_lifetime", "max_depth", "created_at"), limit)


@agent.command("show")
@click.argument("name")
@tenant_option
@operator_options
def show_agent(name: str, tenant: str | None, credential: Any, url: str | None, as_json: bool) -> None:
    """Shows one agent."""
    show(connect(credential, url).call("GET", f"/v1/agents/{name}", params={"tenant": tenant}), as_json, FIELDS)


@agent.command()
@click.argument("name")
@_ceiling
@tenant_option
@operator_options
def update(name: str, tenant: str | None, credential: Any, url: str | None, as_json: bool, **ceiling: Any) -> None:
    """Changes the parts of an agent's ceiling that are named."""
    if all(value is None for value in ceiling.values()):
        raise click.UsageError("Name what is to change: --scope, --max-lifetime, --max-depth or its identity.")
    answer = connect(credential, url).call("PATCH", f"/v1/agents/{name}", json=ceiling, params={"tenant": tenant})
    show(answer, as_json, FIELDS)


@agent.command()
@click.argument("name")
@tenant_option
@operator_options
def suspend(name: str, tenant: str | None, credential: Any, url: str | None, as_json: bool) -> None:
    """No further certificate until it is resumed. What it holds stays: see 'remit revoke --agent'."""
    answer = connect(credential, url).call("POST", f"/v1/agents/{name}/suspend", params={"tenant": tenant})
    show(answer, as_json, FIELDS)


@agent.command()
@click.argument("name")
@tenant_option
@operator_options
def resume(name: str, tenant: str | None, credential: Any, url: str | None, as_json: bool) -> None:
    """Lets a suspended agent enrol again."""
    answer = connect(credential, url).call("POST", f"/v1/agents/{name}/resume", params={"tenant": tenant})
    show(answer, as_json, FIELDS)


COMMANDS = (agent,)
