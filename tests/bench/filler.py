"""Millions of certificates that were issued before: rows written straight into a database, as issuance leaves them.

A certificate that was really issued is the model. Each copy of its row has a serial, a key and a
thumbprint of its own, and with it go its spent token and its audit entries. The copies were issued
one after another during the last week, so all but the last quarter of an hour's are expired, or in
another period. What is not an identifier is the model's own bytes, so sizes are real.

The database is filled before the services start: on SQLite without a journal, and on both with the
secondary indexes made afterwards. A crash of this program leaves a database that is good for nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, create_engine, func, inspect, select, text
from sqlalchemy.schema import CreateIndex, DropIndex

from ca.store.certificates import State
from ca.store.tables import audit, certificates, enrollment_tokens

PERIOD = 7 * 86400
"""Seconds during which the copies were issued, up to now, if nothing else is said."""

_CHUNK = 250_000
_LIFE, _TOKEN_LIFE, _BACKDATE = 899, 300, 60
_TABLES = (certificates, enrollment_tokens, audit)


@dataclass(frozen=True)
class _Spelling:
    """How a database says what the two do not say alike."""

    series: str
    serial: str
    digest: str
    agent: str
    hexadecimal: str
    settled: tuple[str, ...]


_SPELLINGS = {
    "sqlite": _Spelling(
        series="(WITH RECURSIVE n(i) AS (SELECT :low UNION ALL SELECT i + 1 FROM n WHERE i < :high) SELECT i FROM n)",
        serial="CAST(x'01' || randomblob(18) AS BLOB)",
        digest="randomblob(32)",
        agent="printf('agent-%04d', n.i % :agents)",
        hexadecimal="lower(hex(c.serial))",
        settled=("PRAGMA journal_mode = WAL",),
    ),
    "postgresql": _Spelling(
        series="(SELECT generate_series(CAST(:low AS bigint), :high) AS i)",
        serial=r"'\x01'::bytea || substring(decode(md5(random()::text) || md5(random()::text), 'hex'), 1, 18)",
        digest="decode(md5(random()::text) || md5(random()::text), 'hex')",
        agent="'agent-' || lpad((n.i % :agents)::text, 4, '0')",
        hexadecimal="encode(c.serial, 'hex')",
        settled=(*(f"VACUUM ANALYZE {table.name}" for table in _TABLES), "CHECKPOINT"),
    ),
}


def fill(database_url: str, count: int, now: int, agents: int, period: int = PERIOD) -> None:
    """Adds `count` certificates to a database that holds at least one of an agent, issued by token.

    `now` is in seconds since 1970, and `period` in seconds: less than a quarter of an hour leaves all
    of them live. Holders are the first `agents` of `services.Ours`.
    """
    engine = create_engine(database_url, isolation_level="AUTOCOMMIT")
    spelling = _SPELLINGS[engine.dialect.name]
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            # Nothing of this is worth a fsync; the settings end with the connection, but for the journal's mode.
            for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -2000000", "temp_store = MEMORY"):
                connection.exec_driver_sql(f"PRAGMA {pragma}")
        model = _model(connection)
        values = {"now": now, "total": count, "period": period, "agents": agents}
        with _without_indexes(connection):
            for low in range(1, count + 1, _CHUNK):
                _chunk(connection, spelling, model, {**values, "low": low, "high": min(low + _CHUNK - 1, count)})
        for statement in spelling.settled:
            connection.exec_driver_sql(statement)
    engine.dispose()
    # What waits to be written would be written while somebody measures.
    os.sync()


@dataclass(frozen=True)
class _Model:
    """Where the rows of the model are."""

    certificate: int
    token: bytes
    entries: tuple[int, ...]


def _model(connection: Connection) -> _Model:
    query = select(certificates.c.id, certificates.c.serial).where(
        certificates.c.kind == "agent", certificates.c.state == State.ISSUED.value
    )
    one = connection.execute(query.order_by(certificates.c.id.desc()).limit(1)).one()
    token = select(enrollment_tokens.c.sha256).where(enrollment_tokens.c.spent_on == one.serial)
    entries = select(audit.c.sequence).where(audit.c.serial == one.serial.hex())
    return _Model(one.id, connection.execute(token).scalar_one(), tuple(connection.execute(entries).scalars()))


def _chunk(connection: Connection, spelling: _Spelling, model: _Model, values: Mapping[str, Any]) -> None:
    before = connection.execute(select(func.max(certificates.c.id))).scalar_one()
    at = ":now - :period + (n.i * :period) / :total"
    connection.execute(text("BEGIN"))
    connection.execute(
        _copy(
            certificates,
            {
                "id": None,
                "serial": spelling.serial,
                "key_sha256": spelling.digest,
                "x5t": spelling.digest,
                "holder": spelling.agent,
                "created_at": at,
                "not_before": f"{at} - {_BACKDATE}",
                "not_after": f"{at} + {_LIFE}",
            },
            f"{spelling.series} AS n, certificates AS m WHERE m.id = :model",
        ),
        {**values, "model": model.certificate},
    )
    of_these = {"before": before}
    connection.execute(
        _copy(
            enrollment_tokens,
            {
                "sha256": spelling.digest,
                "agent": "c.holder",
                "created_at": f"c.created_at - {_BACKDATE}",
                "expires_at": f"c.created_at - {_BACKDATE} + {_TOKEN_LIFE}",
                "spent_at": "c.created_at",
                "spent_on": "c.serial",
            },
            "certificates AS c, enrollment_tokens AS m WHERE c.id > :before AND m.sha256 = :model",
        ),
        {**of_these, "model": model.token},
    )
    for entry in model.entries:
        connection.execute(
            _copy(
                audit,
                {"sequence": None, "at": "c.created_at", "agent": "c.holder", "serial": spelling.hexadecimal},
                "certificates AS c, audit AS m WHERE c.id > :before AND m.sequence = :model",
            ),
            {**of_these, "model": entry},
        )
    connection.execute(text("COMMIT"))


def _copy(table: Table, changed: Mapping[str, str | None], source: str) -> Any:
    """Rows of `table` like its row `m`, but for what is changed; None leaves a column to the database."""
    columns = [column.name for column in table.columns if changed.get(column.name, "") is not None]
    values = ", ".join(changed.get(name) or f"m.{name}" for name in columns)
    return text(f"INSERT INTO {table.name} ({', '.join(columns)}) SELECT {values} FROM {source}")


@contextmanager
def _without_indexes(connection: Connection) -> Iterator[None]:
    """Every index that the schema names by itself: dropped, and made again at the end. Keys stay."""
    there = {index["name"] for table in _TABLES for index in inspect(connection).get_indexes(table.name)}
    indexes = [index for table in _TABLES for index in table.indexes if index.name in there]
    for index in indexes:
        connection.execute(DropIndex(index))
    yield
    for index in indexes:
        connection.execute(CreateIndex(index))
