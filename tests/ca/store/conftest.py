"""A real database for each test, of both kinds, with the schema of today and one CA in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ca.store import issuers
from ca.store.transaction import Database
from tests.ca.store.rows import ISSUER, issuer


@pytest.fixture
def url(database_url: str) -> str:
    return database_url


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database(url)
    opened.write(lambda connection: issuers.add(connection, issuer(ISSUER))).result()
    yield opened
    opened.close()
