from __future__ import annotations

import pytest

from ca.refusals import Reason, Refused
from ca.store import audit
from ca.store.audit import Entry
from ca.store.transaction import Connection, Database
from tests.ca.store.rows import NOW, written

FULL = Entry(NOW, "ops", "task.open", "granted", "acme", "bot", "invoices", "01ff", {"scope": "a b", "n": [1, None]})
LEAST = Entry(NOW, "ops", "x", "refused")


def test_entries_come_back_in_the_order_of_their_commits(database: Database) -> None:
    for entry in (FULL, LEAST, FULL):
        written(database, lambda connection, entry=entry: audit.append(connection, entry))
    with database.read() as connection:
        assert audit.everything(connection) == [FULL, LEAST, FULL]


def test_what_is_refused_leaves_no_entry_of_having_been_granted(database: Database) -> None:
    def act(connection: Connection) -> None:
        audit.append(connection, FULL)
        raise Refused(Reason.CONFLICT, "No.")

    with pytest.raises(Refused):
        written(database, act)
    with database.read() as connection:
        assert audit.everything(connection) == []
