from __future__ import annotations

import pytest

from ca.identifiers import OperatorName
from ca.refusals import Reason, Refused
from ca.store import operators
from ca.store.operators import Operator, Role
from ca.store.transaction import Database
from tests.ca.store.rows import NOW, written


def added(database: Database, *names: str, role: Role = Role.AUDITOR) -> None:
    for name in names:
        operator = Operator(OperatorName(name), role, NOW)
        written(database, lambda connection, operator=operator: operators.add(connection, operator))


@pytest.mark.parametrize("role", Role)
def test_an_operator_comes_back_with_its_role(database: Database, role: Role) -> None:
    added(database, "ops", role=role)
    with database.read() as connection:
        assert operators.find(connection, OperatorName("ops")) == Operator(OperatorName("ops"), role, NOW)
        assert operators.find(connection, OperatorName("other")) is None


def test_a_name_is_taken_once(database: Database) -> None:
    added(database, "ops")
    with pytest.raises(Refused) as caught:
        added(database, "ops", role=Role.ADMIN)
    assert caught.value.reason is Reason.CONFLICT
    with database.read() as connection:
        assert [one.role for one in operators.everyone(connection)] == [Role.AUDITOR]


def test_everyone_is_in_order_of_name(database: Database) -> None:
    added(database, "c", "a", "b")
    with database.read() as connection:
        assert [one.name for one in operators.everyone(connection)] == ["a", "b", "c"]
