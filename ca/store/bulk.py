"""Many rows in one statement.

The driver gives the interpreter away at every step of a statement, so a batch that is one
statement costs one wait for it, and not one for each row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import Column, Connection, Dialect, LargeBinary, Table

LARGEST = 64
"""Rows of one statement. Batches are cut into powers of two, so that few statements are ever prepared."""

_Row = Mapping[str, Any]
_Process = Callable[[Any], Any]


def insert_all(connection: Connection, table: Table, rows: Sequence[_Row]) -> None:
    """Inserts rows that have the same columns. Raises `IntegrityError` as a single insert would."""
    if not rows:
        return
    columns = tuple(rows[0])
    for part in _parts(rows):
        statement = _insert_text(connection.dialect, table, columns, len(part))
        connection.exec_driver_sql(statement, _values(connection.dialect, table, columns, part))


def update_all(connection: Connection, table: Table, keys: tuple[str, ...], rows: Sequence[_Row], only: str) -> int:
    """Sets each row's columns where its `keys` are found and the SQL condition `only` holds; how many were set."""
    if not rows:
        return 0
    columns = tuple(rows[0])
    updated = 0
    for part in _parts(rows):
        statement = _update_text(connection.dialect, table, keys, columns, only, len(part))
        updated += connection.exec_driver_sql(statement, _values(connection.dialect, table, columns, part)).rowcount
    return updated


def _parts(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    start = 0
    while start < len(rows):
        size = min(LARGEST, 1 << ((len(rows) - start).bit_length() - 1))
        yield rows[start : start + size]
        start += size


@lru_cache(maxsize=1024)
def _insert_text(dialect: Dialect, table: Table, columns: tuple[str, ...], count: int) -> str:
    row = f"({', '.join([_mark(dialect)] * len(columns))})"
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES {', '.join([row] * count)}"  # noqa: S608 (our own names alone)


@lru_cache(maxsize=1024)
def _update_text(
    dialect: Dialect, table: Table, keys: tuple[str, ...], columns: tuple[str, ...], only: str, count: int
) -> str:
    mark = _mark(dialect)
    named = ", ".join(f"{mark} AS {column}" for column in columns)
    plain = ", ".join([mark] * len(columns))
    given = " UNION ALL ".join([f"SELECT {named}", *[f"SELECT {plain}"] * (count - 1)])
    settings = ", ".join(f"{column} = given.{column}" for column in columns if column not in keys)
    found = " AND ".join(f"{table.name}.{key} = given.{key}" for key in keys)
    return f"UPDATE {table.name} SET {settings} FROM ({given}) AS given WHERE {found} AND {only}"  # noqa: S608 (our own names alone)


def _values(dialect: Dialect, table: Table, columns: tuple[str, ...], rows: Sequence[_Row]) -> tuple[Any, ...]:
    """All rows' values in order, as the driver wants them."""
    processes = _processes(dialect, table, columns)
    return tuple(
        chain.from_iterable(
            [process(row[column]) for column, process in zip(columns, processes, strict=True)] for row in rows
        )
    )


@lru_cache(maxsize=64)
def _processes(dialect: Dialect, table: Table, columns: tuple[str, ...]) -> tuple[_Process, ...]:
    return tuple(_process(dialect, table.c[column]) for column in columns)


def _process(dialect: Dialect, column: Column[Any]) -> _Process:
    if isinstance(column.type, LargeBinary):
        return _as_it_is  # both drivers take bytes; SQLAlchemy would wrap each in an object of the driver's first
    return column.type.dialect_impl(dialect).bind_processor(dialect) or _as_it_is


def _as_it_is(value: Any) -> Any:
    return value


def _mark(dialect: Dialect) -> str:
    return "?" if dialect.paramstyle == "qmark" else "%s"
