"""Authorization details by their digest: what a certificate carries is found again when its task has been narrowed."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, bindparam, insert, select

from ca.policy.details import Details
from ca.store.tables import details

_FIND = select(details).where(details.c.sha256.in_(bindparam("digests", expanding=True)))


def keep(connection: Connection, one: Details) -> None:
    """Stores these, once; the empty array needs no row."""
    if one.digest is not None and one.digest not in find(connection, [one.digest]):
        connection.execute(insert(details).values(sha256=one.digest, items=list(one.items)))


def find(connection: Connection, digests: Collection[bytes]) -> dict[bytes, Details]:
    """Those of these digests that were kept."""
    rows = connection.execute(_FIND, {"digests": list(digests)}) if digests else ()
    return {row.sha256: Details(tuple(row.items), row.sha256) for row in rows}
