"""Who delegated to whom: a lineage is revoked however far it goes, and a dry run says beforehand what that is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ca.authority import hold, revoke
from ca.authority.revoke import REASONS, Revoked
from ca.identifiers import Serial, TaskId, Thumbprint
from ca.store.certificates import Intent
from ca.store.filters import Filter
from ca.web.revocations import tree
from tests.ca.authority.stage import AGENT, TENANT, Stage
from tests.ca.store import rows

COMPROMISED, SUPERSEDED = REASONS["keyCompromise"], REASONS["superseded"]


def certified(stage: Stage, number: int, parent: Intent | None = None, **changes: Any) -> Intent:
    """A certificate as delegation will leave it: a row with its parent's serial."""
    now = stage.clock().replace(microsecond=0)
    made = rows.intent(
        number,
        parent=parent and parent.serial,
        key=changes.pop("key", Thumbprint.of(b"key %d" % number)),
        not_after=now + timedelta(minutes=15),
        created_at=now,
        **changes,
    )
    rows.issue(stage.database, made)
    return made


def family(stage: Stage) -> list[Intent]:
    """A grandmother, two daughters, a granddaughter of the first, and a stranger."""
    first = certified(stage, 1)
    second, third = certified(stage, 2, first), certified(stage, 3, first)
    return [first, second, third, certified(stage, 4, second), certified(stage, 5)]


def serials(revoked: Revoked) -> list[Serial]:
    return [record.intent.serial for record in revoked.certificates]


def below(stage: Stage, ancestor: Intent, *, dry_run: bool, reason: Any = SUPERSEDED) -> Revoked:
    return revoke.revoke_many(stage.authority, Filter(descendants_of=ancestor.serial), reason, "ops", dry_run=dry_run)


def states(stage: Stage, intents: list[Intent]) -> list[str]:
    with stage.database.read() as connection:
        return [revoke.require(connection, one.serial).state(stage.clock()) for one in intents]


def test_whatever_was_delegated_from_it_is_revoked_however_far(stage: Stage) -> None:
    kin = family(stage)
    done = below(stage, kin[0], dry_run=False)
    assert serials(done) == [one.serial for one in kin[1:4]]
    assert states(stage, kin) == ["live", "revoked", "revoked", "revoked", "live"]


def test_it_begins_in_the_middle_too(stage: Stage) -> None:
    kin = family(stage)
    assert serials(below(stage, kin[1], dry_run=False)) == [kin[3].serial]
    assert below(stage, kin[4], dry_run=False).count == 0


def test_what_lies_beyond_one_that_is_revoked_or_held_is_reached(stage: Stage) -> None:
    kin = family(stage)
    revoke.revoke_serial(stage.authority, kin[1].serial, SUPERSEDED, "ops")
    hold.hold(stage.authority, kin[2].serial, "ops")
    late, below_held = certified(stage, 6, kin[1]), certified(stage, 7, kin[2])
    assert serials(below(stage, kin[0], dry_run=False)) == [kin[2].serial, late.serial, below_held.serial]


def test_the_revocation_of_one_takes_with_it_what_was_delegated_from_it(stage: Stage) -> None:
    kin = family(stage)
    revoke.revoke_serial(stage.authority, kin[1].serial, SUPERSEDED, "ops")
    assert states(stage, kin) == ["live", "revoked", "live", "revoked", "live"]
    revoke.revoke_serial(stage.authority, kin[0].serial, SUPERSEDED, "ops")
    assert states(stage, kin) == ["revoked"] * 4 + ["live"]
    assert len(stage.audited("certificate.revoke")) == 4


def test_a_second_call_revokes_what_the_first_left_below(stage: Stage) -> None:
    kin = family(stage)
    revoke.revoke_serial(stage.authority, kin[0].serial, SUPERSEDED, "ops")
    late = certified(stage, 6, kin[3])
    revoke.revoke_serial(stage.authority, kin[0].serial, SUPERSEDED, "ops")
    assert states(stage, [late]) == ["revoked"]


def test_nothing_is_said_against_the_key_of_a_child_of_one_that_was_compromised(stage: Stage) -> None:
    kin = family(stage)
    revoke.revoke_serial(stage.authority, kin[0].serial, COMPROMISED, "ops")
    with stage.database.read() as connection:
        found = [revoke.require(connection, one.serial).reason for one in kin]
    assert found == ["keyCompromise", *["privilegeWithdrawn"] * 3, None]
    assert [entry.detail["key_sha256"] for entry in stage.audited("key.block")] == [kin[0].key.hex]


def test_an_unknown_ancestor_has_no_descendants(stage: Stage) -> None:
    family(stage)
    dry = revoke.revoke_many(stage.authority, Filter(descendants_of=Serial(0x77)), SUPERSEDED, "ops", dry_run=True)
    assert (dry.count, dry.certificates) == (0, [])


def test_a_compromised_lineage_takes_with_it_what_shares_its_keys(stage: Stage) -> None:
    kin = family(stage)
    twin = certified(stage, 6, key=kin[3].key)
    dry = below(stage, kin[0], dry_run=True, reason=COMPROMISED)
    done = below(stage, kin[0], dry_run=False, reason=COMPROMISED)
    assert serials(dry) == serials(done) == [one.serial for one in (*kin[1:4], twin)]
    assert dry.blocked_keys == done.blocked_keys == [one.key for one in kin[1:4]]


def test_the_tree_has_parents_first_and_roots_without_them(stage: Stage) -> None:
    kin = family(stage)
    shown = tree(
        revoke.revoke_many(stage.authority, Filter(tenant=TENANT), SUPERSEDED, "ops", dry_run=True).certificates
    )
    assert shape(shown) == {
        kin[0].serial: {kin[1].serial: {kin[3].serial: {}}, kin[2].serial: {}},
        kin[4].serial: {},
    }
    assert (shown[0]["tenant"], shown[0]["holder"]) == (TENANT, AGENT)
    assert shape(tree(below(stage, kin[0], dry_run=True).certificates)) == {
        kin[1].serial: {kin[3].serial: {}},
        kin[2].serial: {},
    }


def shape(nodes: list[dict[str, Any]]) -> dict[Serial, Any]:
    return {Serial.parse(node["serial"]): shape(node["children"]) for node in nodes}


def flat(nodes: list[dict[str, Any]]) -> list[str]:
    return [serial for node in nodes for serial in (node["serial"], *flat(node["children"]))]


@dataclass(frozen=True)
class Forest:
    """Of each its parent among those before it, key, task and what happened to it; and what is then asked for."""

    members: list[tuple[int | None, int, int, str]]
    by: str
    which: int
    reason: Any


@st.composite
def forests(draw: st.DrawFn) -> Forest:
    count = draw(st.integers(1, 12))
    members = [
        (
            draw(st.none() | st.integers(0, number - 1)) if number else None,
            draw(st.integers(0, 5)),
            draw(st.integers(0, 2)),
            draw(st.sampled_from(["live", "live", "live", "revoked", "held"])),
        )
        for number in range(count)
    ]
    by = draw(st.sampled_from(["descendants_of", "task", "key", "tenant"]))
    reason = draw(st.sampled_from([SUPERSEDED, COMPROMISED]))
    return Forest(members, by, draw(st.integers(0, count - 1)), reason)


def grown(stage: Stage, forest: Forest) -> list[Intent]:
    made: list[Intent] = []
    for number, (parent, key, task, state) in enumerate(forest.members):
        above = None if parent is None else made[parent]
        changes = {"key": Thumbprint.of(b"shared %d" % key), "task": TaskId(f"task-{task}")}
        made.append(certified(stage, number + 1, above, **changes))
        if state == "revoked":
            revoke.revoke_serial(stage.authority, made[-1].serial, SUPERSEDED, "ops")
        if state == "held":
            hold.hold(stage.authority, made[-1].serial, "ops")
    return made


def descendants(forest: Forest, ancestor: int) -> set[int]:
    found = {ancestor}
    for number, (parent, *_) in enumerate(forest.members):
        if parent in found:
            found.add(number)
    return found - {ancestor}


def expected(forest: Forest) -> set[int]:
    """Without the database: named, and not revoked for good; a compromise takes its keys' others with it."""
    _, key, task, _ = forest.members[forest.which]
    everyone = range(len(forest.members))
    named = {
        "descendants_of": descendants(forest, forest.which),
        "task": {n for n in everyone if forest.members[n][2] == task},
        "key": {n for n in everyone if forest.members[n][1] == key},
        "tenant": set(everyone),
    }[forest.by]
    open_ = {n for n in everyone if forest.members[n][3] != "revoked"}
    if forest.reason is COMPROMISED:
        lost = {forest.members[n][1] for n in named & open_}
        taken = {n for n in everyone if forest.members[n][1] in lost}
        named |= taken
    return (named | {below for n in named for below in descendants(forest, n)}) & open_


@given(forest=forests())
@settings(max_examples=25)
def test_a_dry_run_says_what_is_then_done(tmp_path_factory: pytest.TempPathFactory, forest: Forest) -> None:
    stage = Stage(tmp_path_factory.mktemp("forest"))
    try:
        made = grown(stage, forest)
        one = made[forest.which]
        wanted = {
            "descendants_of": Filter(descendants_of=one.serial),
            "task": Filter(tenant=TENANT, task=one.task),
            "key": Filter(key=one.key),
            "tenant": Filter(tenant=TENANT),
        }[forest.by]
        before = states(stage, made)
        dry = revoke.revoke_many(stage.authority, wanted, forest.reason, "ops", dry_run=True)
        assert states(stage, made) == before
        done = revoke.revoke_many(stage.authority, wanted, forest.reason, "ops", dry_run=False)
        assert (dry.count, serials(dry), dry.blocked_keys) == (done.count, serials(done), done.blocked_keys)
        assert shape(tree(dry.certificates)) == shape(tree(done.certificates))
        assert serials(done) == [made[n].serial for n in sorted(expected(forest))]
        assert sorted(flat(tree(done.certificates))) == sorted(map(str, serials(done)))
        after = states(stage, made)
        gone = {n for n, (was, now) in enumerate(zip(before, after, strict=True)) if was != now}
        assert gone == expected(forest)
        again = revoke.revoke_many(stage.authority, wanted, forest.reason, "ops", dry_run=True)
        assert (again.count, again.blocked_keys) == (0, [])
    finally:
        stage.close()
