from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from ca.store.tables import Instant, metadata

DIALECT = sqlite.dialect()
# A float counts microseconds exactly enough for some centuries yet.
ANY = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 (made aware)


@given(ANY)
def test_an_instant_survives_without_its_fraction(moment: datetime) -> None:
    kept = Instant().process_result_value(Instant().process_bind_param(moment, DIALECT), DIALECT)
    assert kept == moment.replace(microsecond=0)


def test_an_instant_of_another_zone_is_the_same_instant() -> None:
    elsewhere = datetime(2031, 5, 6, 9, 8, 9, tzinfo=timezone(timedelta(hours=2)))
    assert Instant().process_bind_param(elsewhere, DIALECT) == int(elsewhere.timestamp())


def test_no_instant_is_none() -> None:
    assert Instant().process_bind_param(None, DIALECT) is None
    assert Instant().process_result_value(None, DIALECT) is None


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
def test_every_constraint_has_a_name(table: object) -> None:
    """Otherwise a later migration cannot name what it changes, and differs from one database to the next."""
    for constraint in table.constraints | table.indexes:  # type: ignore[attr-defined]
        assert constraint.name
    assert table.primary_key.columns  # type: ignore[attr-defined]


def test_a_serial_is_used_once_by_an_issuer() -> None:
    """Case 5: the database itself refuses the second."""
    unique = [
        tuple(column.name for column in constraint.columns)
        for constraint in metadata.tables["certificates"].constraints
        if type(constraint).__name__ == "UniqueConstraint"
    ]
    assert unique == [("issuer", "serial")]
