"""A real SQLite file for each test, with the schema of today and one CA in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ca.store import issuers, schema
from ca.store.transaction import Database
from tests.ca.store.rows import ISSUER, issuer


@pytest.fixture
def url(tmp_path: Path) -> str:
    made = f"sqlite:///{tmp_path / 'remit.db'}"
    schema.upgrade(made)
    return made


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database(url)
    opened.write(lambda connection: issuers.add(connection, issuer(ISSUER))).result()
    yield opened
    opened.close()
