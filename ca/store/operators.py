"""Operators and their roles."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, bindparam, insert, select

from ca.identifiers import OperatorName
from ca.store.tables import operators

_ROLES = select(operators.c.name, operators.c.role).where(operators.c.name.in_(bindparam("names", expanding=True)))


class Role(StrEnum):
    """What an operator may do; the table of permissions is in `ca.web.callers`."""

    ADMIN = "admin"
    OPERATOR = "operator"
    ORCHESTRATOR = "orchestrator"
    AUDITOR = "auditor"
    RELYING_PARTY = "relying-party"


@dataclass(frozen=True, slots=True)
class Operator:
    """A person or a service that may call the authority."""

    name: OperatorName
    role: Role
    created_at: datetime


def add(connection: Connection, operator: Operator) -> None:
    """Raises `IntegrityError` when the name is taken."""
    connection.execute(
        insert(operators).values(name=operator.name, role=operator.role.value, created_at=operator.created_at)
    )


def find(connection: Connection, name: OperatorName) -> Operator | None:
    """The operator of this name, or None."""
    row = connection.execute(select(operators).where(operators.c.name == name)).one_or_none()
    return None if row is None else Operator(OperatorName(row.name), Role(row.role), row.created_at)


def roles(connection: Connection, names: Collection[OperatorName]) -> dict[OperatorName, Role]:
    """The roles of those of these names that there are."""
    rows = connection.execute(_ROLES, {"names": list(names)}) if names else ()
    return {OperatorName(row.name): Role(row.role) for row in rows}


def everyone(connection: Connection) -> list[Operator]:
    """All operators in order of name."""
    rows = connection.execute(select(operators).order_by(operators.c.name))
    return [Operator(OperatorName(row.name), Role(row.role), row.created_at) for row in rows]
