"""What a transaction stored that must not be lost: noted in it, and taken by the writer once it is committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

Row = Mapping[str, Any]
Note = tuple[str, Row]
"""What was stored (`ca.store.lost` has the kinds), and a row of it."""

_NOTES = "remit.notes"


def note(connection: Connection, what: str, rows: Sequence[Row]) -> None:
    """These rows are stored in this transaction. PostgreSQL alone can lose what it had committed."""
    if rows and connection.dialect.name == "postgresql":
        connection.info.setdefault(_NOTES, []).extend((what, row) for row in rows)


def take(connection: Connection) -> list[Note]:
    """What was noted since the last time: of an act that was undone it is dropped."""
    found: list[Note] = connection.info.pop(_NOTES, [])
    return found
