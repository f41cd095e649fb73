"""Audit entries, in the order in which they were committed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, insert, literal, select

from ca.store import bulk
from ca.store.filters import JOINED
from ca.store.tables import audit, certificates, revocations

_ENTRIES = select(*(column for column in audit.c if column is not audit.c.sequence))
# What was granted is noted when it is stored, what was not under its own name.
_ASKED = ("certificate.intend", "certificate.enrol", "certificate.renew", "certificate.delegate")
_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision: who did what to which agent, task or certificate, and whether it was granted."""

    at: datetime
    actor: str
    action: str
    decision: str
    tenant: str | None = None
    agent: str | None = None
    task: str | None = None
    serial: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)


def append(connection: Connection, *entries: Entry) -> None:
    """Adds entries, in their order; the database numbers them."""
    rows = [
        {
            "at": entry.at,
            "actor": entry.actor,
            "action": entry.action,
            "decision": entry.decision,
            "tenant": entry.tenant,
            "agent": entry.agent,
            "task": entry.task,
            "serial": entry.serial,
            "detail": entry.detail,
        }
        for entry in entries
    ]
    bulk.insert_all(connection, audit, rows)


def append_for_each(connection: Connection, entry: Entry, revoked: ColumnElement[bool]) -> None:
    """Adds the entry for each certificate of a condition over `revocations`, with its names: one statement."""
    serial = func.lower(func.hex(certificates.c.serial))
    if connection.dialect.name == "postgresql":
        serial = func.encode(certificates.c.serial, "hex")
    constants = {"at": entry.at, "actor": entry.actor, "action": entry.action, "decision": entry.decision}
    columns: dict[str, ColumnElement[Any]] = {
        **{name: literal(value, audit.c[name].type) for name, value in constants.items()},
        "tenant": certificates.c.tenant,
        "agent": certificates.c.holder,
        "task": certificates.c.task,
        "serial": serial,
        "detail": literal(entry.detail, audit.c.detail.type),
    }
    rows = select(*columns.values()).join(revocations, JOINED).where(revoked).order_by(certificates.c.id)
    connection.execute(insert(audit).from_select(list(columns), rows))


def asked(connection: Connection, since: datetime) -> Iterator[Entry]:
    """Decisions on certificates that were asked for, from this moment on, oldest first; read while they are taken."""
    wanted = _ENTRIES.where(audit.c.at >= since, audit.c.action.in_(_ASKED)).order_by(audit.c.sequence)
    for row in connection.execute(wanted, execution_options={"yield_per": _AT_ONCE}):
        yield Entry(**row._mapping)  # noqa: SLF001 (SQLAlchemy's documented name)


def everything(connection: Connection) -> list[Entry]:
    """All entries, oldest first."""
    return [Entry(**row._mapping) for row in connection.execute(_ENTRIES.order_by(audit.c.sequence))]  # noqa: SLF001 (SQLAlchemy's documented name)
