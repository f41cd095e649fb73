"""Which certificates a filter names: by example, and against a model that asks each one by itself."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import ColumnElement, delete, select

from ca.identifiers import Serial, TenantId, Thumbprint
from ca.pki.profile import Kind
from ca.store import certificates, filters, revocations, schema
from ca.store.certificates import Intent
from ca.store.filters import REVOCABLE_KINDS, Filter
from ca.store.tables import certificates as table
from ca.store.tables import revocations as revoked_table
from ca.store.transaction import Connection, Database, open_engine
from tests.ca.store.rows import AGENT, ISSUER, NOW, TASK, TENANT, hold, intent, issue, revoke, written

END = intent(1).not_after
SECOND = timedelta(seconds=1)
OTHER_KEY = Thumbprint.of(b"other")


def named(database: Database, condition: ColumnElement[bool]) -> list[int]:
    with database.read() as connection:
        found = [one.intent.serial.octets[-1] for one in certificates.some(connection, condition, 100)]
        assert certificates.count(connection, condition) == len(found)
    return found


FILTERS = {
    "everything": (Filter(), [1, 2, 3, 4, 5]),
    "tenant": (Filter(tenant=TENANT), [1, 2, 3, 4]),
    "another tenant": (Filter(tenant=TenantId("other")), []),
    "kind": (Filter(kind=Kind.OPERATOR), [5]),
    "holder": (Filter(holder="second"), [2]),
    "task": (Filter(task="second"), [3]),
    "key": (Filter(key=OTHER_KEY), [4]),
    "serial": (Filter(serial=intent(3).serial), [3]),
    "descendants": (Filter(descendants_of=intent(1).serial), [2]),
    "tenant and holder": (Filter(tenant=TENANT, holder="second"), [2]),
    "nothing has both": (Filter(holder="second", key=OTHER_KEY), []),
    "expires before": (Filter(expires_before=END), [4]),
    "expires before, too early": (Filter(expires_before=NOW), []),
}


@pytest.mark.parametrize(("wanted", "expected"), FILTERS.values(), ids=FILTERS.keys())
def test_each_part_narrows(database: Database, wanted: Filter, expected: list[int]) -> None:
    issue(
        database,
        intent(1),
        intent(2, holder="second", parent=intent(1).serial),
        intent(3, task="second"),
        intent(4, key=OTHER_KEY, not_after=END - SECOND),
        intent(5, kind=Kind.OPERATOR, tenant=None),
    )
    assert named(database, filters.narrowed(wanted, NOW)) == expected


def test_descendants_are_of_any_depth_and_of_this_one_alone(database: Database) -> None:
    """1 > 2 > 3 > ... > 40, and 1 > 41; of 50 there is 51."""
    chain = [intent(number, parent=intent(number - 1).serial if number > 1 else None) for number in range(1, 41)]
    issue(database, *chain, intent(41, parent=intent(1).serial), intent(50), intent(51, parent=intent(50).serial))

    def below(number: int, **more: Any) -> list[int]:
        return named(database, filters.narrowed(Filter(descendants_of=intent(number).serial, **more), NOW))

    assert below(1) == [*range(2, 41), 41]
    assert below(38) == [39, 40]
    assert below(50) == [51]
    assert below(40) == below(99) == []
    hold(database, intent(2))
    assert below(1, state="held") == [2], "what was revoked between does not hide what is below it"
    assert below(1, state="live", holder="bot") == [*range(3, 41), 41]


STATES = {"live": [1, 5], "held": [2], "revoked": [3, 6], "expired": [4]}


@pytest.mark.parametrize(("state", "expected"), STATES.items())
def test_each_certificate_has_one_state(database: Database, state: str, expected: list[int]) -> None:
    ended = intent(4, not_after=NOW - SECOND)
    issue(
        database,
        intent(1),
        intent(2),
        intent(3),
        ended,
        intent(5, not_after=NOW),
        replace(ended, serial=intent(6).serial),
    )
    hold(database, intent(2))
    revoke(database, intent(3), intent(6), at=NOW - SECOND)
    assert named(database, filters.narrowed(Filter(state=state), NOW)) == expected


def test_of_its_states_an_intent_has_the_same(database: Database) -> None:
    written(database, lambda connection: certificates.intend(connection, [intent(1)]))
    assert named(database, filters.narrowed(Filter(state="live"), NOW)) == [1]


@dataclass(frozen=True)
class Row:
    """One certificate, and what was done to it."""

    intent: Intent
    done: str | None

    @property
    def revocable(self) -> bool:
        return self.done != "revoked" and self.intent.not_after >= NOW and self.intent.kind in REVOCABLE_KINDS

    @property
    def state(self) -> str:
        return self.done or ("live" if self.intent.not_after >= NOW else "expired")


KEYS = [Thumbprint.of(name) for name in (b"1", b"2", b"3")]
HOLDERS, TASKS, TENANTS = ["a", "b"], ["t", None], [TENANT, TenantId("other"), None]
KINDS = [Kind.AGENT, Kind.AGENT, Kind.OPERATOR, Kind.RESPONDER]


@st.composite
def some_rows(draw: st.DrawFn) -> list[Row]:
    made: list[Row] = []
    for number in range(1, draw(st.integers(2, 9))):
        parents = [None, *(row.intent.serial for row in made)]
        one = intent(
            number,
            kind=draw(st.sampled_from(KINDS)),
            tenant=draw(st.sampled_from(TENANTS)),
            holder=draw(st.sampled_from(HOLDERS)),
            task=draw(st.sampled_from(TASKS)),
            key=draw(st.sampled_from(KEYS)),
            not_after=NOW + draw(st.integers(-2, 2)) * SECOND,
            parent=draw(st.sampled_from(parents)),
        )
        done = draw(st.sampled_from([None, None, "held", "revoked"])) if one.kind in REVOCABLE_KINDS else None
        made.append(Row(one, done))
    return made


def maybe(values: Collection[Any]) -> st.SearchStrategy[Any]:
    return st.none() | st.none() | st.sampled_from([value for value in values if value is not None])


WANTED = st.builds(
    Filter,
    tenant=maybe(TENANTS),
    kind=maybe(KINDS),
    holder=maybe(HOLDERS),
    task=maybe(TASKS),
    key=maybe(KEYS),
    serial=maybe([intent(number).serial for number in range(1, 4)]),
    descendants_of=maybe([intent(number).serial for number in range(1, 4)]),
    state=maybe(list(STATES)),
    expires_before=maybe([NOW, NOW + SECOND]),
)


def matches(rows: list[Row], row: Row, wanted: Filter) -> bool:
    one = row.intent
    return (
        all(
            getattr(wanted, name) in (None, getattr(one, name))
            for name in ("tenant", "kind", "holder", "task", "key", "serial")
        )
        and wanted.state in (None, row.state)
        and (wanted.expires_before is None or one.not_after < wanted.expires_before)
        and (wanted.descendants_of is None or wanted.descendants_of in ancestors(rows, row))
    )


def ancestors(rows: list[Row], row: Row) -> set[Serial]:
    found, parent = set[Serial](), row.intent.parent
    while parent is not None:
        found.add(parent)
        parent = next(other.intent.parent for other in rows if other.intent.serial == parent)
    return found


def store(database: Database, rows: list[Row]) -> None:
    """In place of what is there."""

    def act(connection: Connection) -> None:
        for old in (revoked_table, table):
            connection.execute(delete(old))
        certificates.intend(connection, [row.intent for row in rows])
        for done, reason in (("held", x509.ReasonFlags.certificate_hold), ("revoked", x509.ReasonFlags.superseded)):
            serials = [row.intent.serial.octets for row in rows if row.done == done]
            begun = revocations.begin(connection, ISSUER, NOW - timedelta(hours=1), reason)
            revocations.revoke(connection, begun, table.c.serial.in_(serials))

    written(database, act)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some_rows(), WANTED, st.sets(st.sampled_from(KEYS), max_size=2))
def test_the_database_and_the_model_agree(
    database: Database, rows: list[Row], wanted: Filter, keys: set[Thumbprint]
) -> None:
    store(database, rows)

    def numbers(of: Collection[Row]) -> list[int]:
        return [row.intent.serial.octets[-1] for row in of]

    narrow = filters.narrowed(wanted, NOW)
    of_filter = [row for row in rows if matches(rows, row, wanted)]
    assert named(database, narrow) == numbers(of_filter)
    fresh = [row for row in of_filter if row.revocable]
    assert named(database, narrow & filters.revocable(NOW)) == numbers(fresh)
    theirs = {row.intent.key for row in fresh} | keys
    shared = [row for row in rows if row.revocable and (row in of_filter or row.intent.key in theirs)]
    assert named(database, filters.with_sharing(narrow, keys, NOW)) == numbers(shared)
    assert named(database, filters.of_keys(keys)) == numbers([row for row in rows if row.intent.key in keys])


@pytest.mark.parametrize(
    "condition",
    [
        filters.narrowed(Filter(serial=Serial(7)), NOW),
        filters.narrowed(Filter(descendants_of=Serial(7)), NOW),
        filters.below(filters.narrowed(Filter(tenant=TENANT, holder=AGENT), NOW)),
        filters.either(
            filters.narrowed(Filter(tenant=TENANT, task=TASK), NOW),
            filters.below(filters.narrowed(Filter(serial=Serial(7)), NOW)),
        ),
        filters.either(table.c.line == b"7", filters.of_serial(Serial(7))),
    ],
)
def test_among_millions_nothing_is_looked_for_row_by_row(tmp_path: Path, condition: ColumnElement[bool]) -> None:
    url = f"sqlite:///{tmp_path / 'remit.db'}"
    schema.upgrade(url)
    engine = open_engine(url, writable=False)
    query = select(table.c.id).outerjoin(revoked_table, filters.JOINED).where(condition)
    query = query.where(filters.revocable(NOW))
    text = query.compile(engine, compile_kwargs={"render_postcompile": True})
    with engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", (None,) * len(text.positiontup or ())).all()
    engine.dispose()
    assert any("certificates" in step[3] for step in plan)
    assert not [step[3] for step in plan if "SCAN certificates" in step[3]]
