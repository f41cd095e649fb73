"""What the benchmark writes by itself is what the authority would have written, on both databases."""

from __future__ import annotations

from typing import Any

from sqlalchemy import create_engine, select

from ca.store import issuers, schema, tables
from ca.store.transaction import Database
from tests.bench.revocation.stored import VICTIM, revoke_everything, serials
from tests.ca.store.rows import ISSUER, NOW, intent, issue, issuer, revoke, written


def _revocations(database_url: str) -> dict[bytes, dict[str, Any]]:
    """The rows by serial, without what each has of its own."""
    engine = create_engine(database_url)
    with engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(select(tables.revocations)).mappings()]
    engine.dispose()
    for row in rows:
        # What one act differs by from another, and one certificate from the next.
        del row["revision"], row["entry"]
    return {bytes(row.pop("serial")): row for row in rows}


def test_everything_is_revoked_as_the_authority_does_it(database_url: str) -> None:
    schema.upgrade(database_url)
    made = [intent(1), intent(2), intent(3, holder=VICTIM)]
    database = Database(database_url)
    written(database, lambda connection: issuers.add(connection, issuer(ISSUER)))
    issue(database, *made)
    revoke(database, made[0])
    database.close()
    revoke_everything(database_url, int(NOW.timestamp()))
    rows = _revocations(database_url)
    ours, *theirs = (rows[one.serial.octets] for one in made)
    assert theirs == [ours, ours]
    assert serials(database_url, victim=True) == [made[2].serial.octets]
    assert serials(database_url, victim=False) == [made[1].serial.octets, made[0].serial.octets]
