"""`remit cert`: certificates that were issued, and one of them in words."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import click

from remit.cli.common import clock, connect, length, limit_option, moment, operator_options, show_table, tenant_option


@click.group()
def cert() -> None:
    """Certificates that were issued."""


@cert.command("list")
@click.option("--agent", help="Of this agent.")
@click.option("--task", help="For this task.")
@click.option("--state", type=click.Choice(["live", "held", "revoked", "expired"]))
@click.option("--expires-before", callback=moment, help="A time, or a duration from now.")
@tenant_option
@limit_option
@operator_options
def list_certificates(limit: int, credential: Any, url: str | None, as_json: bool, **wanted: Any) -> None:
    """Lists certificates, newest first."""
    items = connect(credential, url).pages("/v1/certificates", wanted, limit + 1)
    show_table(items, as_json, ("serial", "state", "kind", "holder", "task", "not_after", "reason"), limit)


@cert.command("show")
@click.argument("serial")
@click.option("--pem", is_flag=True, help="The chain in PEM instead of words.")
@operator_options
def show_certificate(serial: str, pem: bool, credential: Any, url: str | None, as_json: bool) -> None:
    """Shows one certificate in words."""
    answer = connect(credential, url).call("GET", f"/v1/certificates/{serial}")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    elif pem:
        click.echo(answer["chain"], nl=False)
    else:
        click.echo(in_words(answer))


def in_words(answer: dict[str, Any]) -> str:
    """What the authority says of a certificate, as lines for a person."""
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(answer["certificate"].encode())
    lines = {
        "serial": answer["serial"],
        "subject": certificate.subject.rfc4514_string(),
        "identity": answer["spiffe_id"] or "-",
        "task": answer["task"] or "-",
        "scope": answer["scope"] or "-",
        "resources": ", ".join(answer["resources"]) or "-",
        "valid from": answer["not_before"],
        "valid until": f"{answer['not_after']} ({_left(certificate.not_valid_after_utc)})",
        **_lineage(answer),
        "state": _state(answer),
        "issued by": certificate.issuer.rfc4514_string(),
        "key": _key(certificate),
        "x5t#S256": answer["x5t#S256"],
    }
    return "\n".join(f"  {name:<12} {value}" for name, value in lines.items())


def _lineage(answer: dict[str, Any]) -> dict[str, str]:
    if answer["parent"] is None:
        return {}
    return {"delegated": f"by {answer['parent']}, depth {answer['depth']} of {answer['max_depth']}"}


def _left(end: datetime) -> str:
    left = end - clock()
    return f"{length(left)} left" if left.total_seconds() >= 0 else "ended"


def _state(answer: dict[str, Any]) -> str:
    if answer["state"] in ("held", "revoked"):
        return f"{answer['state']} at {answer['revoked_at']}, {answer['reason']}"
    return str(answer["state"])


def _key(certificate: Any) -> str:
    key = certificate.public_key()
    curve = getattr(key, "curve", None)
    return f"EC {curve.name}" if curve else type(key).__name__.removesuffix("PublicKey")


COMMANDS = (cert,)
