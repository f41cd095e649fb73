"""The operator's rules, tried over what was recorded: who would get less, or more, by which policy."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ca import rehearsal
from ca.authority import desk
from ca.authority.claims import Application, ByToken, Delegation, Renewal
from ca.policy import trial
from ca.policy.asking import Asking
from ca.policy.ceiling import Asked
from ca.policy.rules import Rules
from ca.policy.scope import Scope
from ca.policy.trial import DENIED, Change, Recorded
from ca.refusals import Reason, Refused
from ca.rehearsal import Untried
from ca.store import audit
from ca.store.audit import Entry
from tests.ca.authority.stage import Stage, new_key, request, run
from tests.ca.policy.test_asking import ASKING

MINUTE = timedelta(minutes=1)
PAY = '@id("pay") @longest("5m") forbid (principal, action, resource) when { context.scope.contains("pay") };'
OVERFLOW = """@id("odd") forbid (principal, action, resource)
    when { context.lifetime.toSeconds() * 9223372036854775807 > 0 };"""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.close()


def entry(decision: str, **detail: object) -> Entry:
    return Entry(ASKING.now, "ops", "certificate.intend", decision, detail={"asking": ASKING.to_json(), **detail})


def test_what_an_entry_says_was_granted() -> None:
    assert rehearsal.of_entry(entry("granted")) == Recorded(ASKING, ASKING.lifetime)
    assert rehearsal.of_entry(entry("granted", policy=["pay"], lifetime=300)) == Recorded(ASKING, 5 * MINUTE)
    assert rehearsal.of_entry(entry("refused", policy=["pay"], lifetime=0)) == Recorded(ASKING, DENIED)


RULES = Rules.parse(
    '@id("no-writers") forbid (principal, action, resource) when { context.scope.contains("write") };'
    '@id("short") @longest("2m") forbid (principal, action == Action::"delegate", resource);'
)


def test_what_the_desk_records_is_what_is_tried_again(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """By the rules that were in force nothing changes, whatever they did; without them all would be as asked."""
    stage.agent("planner", max_depth=1)
    stage.task(agent="planner", scope="read write")
    stage.agent("reader")
    stage.task("reading", agent="reader")
    strict = replace(stage.authority, rules=RULES)
    parent = stage.enrolled("planner")
    read = Asked(scope=Scope.parse("read"))
    begun = stage.clock()
    stage.clock.forward(minutes=1)
    run(desk.apply(strict, Application(Delegation(parent.x5t, None, os.urandom(5)), request(new_key()), read)))
    run(desk.apply(strict, Application(ByToken(stage.token("reader", "reading")), request(new_key()), Asked())))
    with pytest.raises(Refused) as caught:
        run(desk.apply(strict, Application(Renewal(parent.x5t), request(new_key()), Asked())))
    assert caught.value.reason is Reason.POLICY_DENIED
    strict.close()

    def tried(rules: Rules, since: datetime) -> list[tuple[str, Change]]:
        with stage.database.read() as connection:
            found = [rehearsal.of_entry(one) for one in audit.asked(connection, since) if "asking" in one.detail]
        return [(one.recorded.asking.act, one.change) for one in trial.tried(rules, found)]

    same, more, denied = Change.SAME, Change.MORE, Change.DENIED
    later = begun + MINUTE / 2
    assert tried(RULES, later) == [("delegate", same), ("enrol", same), ("renew", same)]
    assert tried(Rules.parse(""), later) == [("delegate", more), ("enrol", same), ("renew", more)]
    assert tried(RULES, begun - MINUTE) == [("enrol", denied), ("delegate", same), ("enrol", same), ("renew", same)]
    assert capsys.readouterr().err == ""


def test_an_entry_of_words_that_are_not_known_is_left_out_aloud(capsys: pytest.CaptureFixture[str]) -> None:
    strange = entry("granted")
    strange.detail["asking"]["act"] = "adopt"
    nothing = Entry(ASKING.now, "ops", "certificate.intend", "granted")
    assert list(rehearsal._readable([nothing, strange, entry("granted")])) == [Recorded(ASKING, ASKING.lifetime)]
    assert "is left out: 'act' is wrong" in capsys.readouterr().err


def arguments(file: Path, requests: Path, as_json: bool = False) -> Namespace:
    return Namespace(file=file, requests=requests, json=as_json, since=MINUTE)


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[Path, Path]:
    """Rules, and a file of two requests with an empty line between."""
    rules, requests = tmp_path / "rules.cedar", tmp_path / "requests.jsonl"
    other = replace(ASKING, scope=Scope.parse("read"))
    requests.write_text("\n\n".join(json.dumps(one.to_json()) for one in (ASKING, other)))
    rules.write_text(PAY)
    return rules, requests


def test_a_file_of_requests(recorded: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert rehearsal.test(arguments(*recorded)) == 1
    line, *summary = capsys.readouterr().out.splitlines()
    assert f"shortened  15m -> 5m     enrol acme/{ASKING.agent}" in line
    assert line.endswith(" by pay")
    assert summary == [
        f"2 requests in {recorded[1]}: 0 would be denied, 1 shortened, 0 granted more, 1 the same.",
        "By policy: pay 1.",
    ]
    assert rehearsal.test(arguments(*recorded, as_json=True)) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["requests"], told["shortened"], told["same"], told["policies"]) == (2, 1, 1, {"pay": 1})
    [changed] = told["changes"]
    assert Asking.from_json(changed.pop("asking")) == ASKING
    assert changed == {"change": "shortened", "granted": 900, "lifetime": 300, "policies": ["pay"], "failed": False}


def test_a_policy_that_fails_is_said_to(recorded: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    recorded[0].write_text(OVERFLOW)
    assert rehearsal.test(arguments(*recorded)) == 1
    assert " by odd, which could not be evaluated\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{}", "line 4: 'act' is missing"),
        ("[" * 100_000, "line 4: "),
        ("\udcff", "line 4: Expecting value"),
        ('{"act": 1}', "line 4: "),
    ],
)
def test_a_request_that_cannot_be_read_is_named_by_its_line(
    recorded: tuple[Path, Path], line: str, sentence: str
) -> None:
    with recorded[1].open("a", errors="surrogateescape") as file:
        file.write(f"\n{line}\n")
    with pytest.raises(Untried) as caught:
        rehearsal.test(arguments(*recorded))
    assert str(caught.value).startswith(f"{recorded[1]}, {sentence}")


def test_no_requests_are_said_to_be_none(recorded: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    recorded[1].write_text("")
    assert rehearsal.test(arguments(*recorded)) == 0
    assert capsys.readouterr().out == f"No request is recorded in {recorded[1]}: nothing was tried.\n"
    with pytest.raises(Untried, match="cannot be read"):
        rehearsal.test(arguments(recorded[0], recorded[1].with_name("nowhere")))
    with pytest.raises(Untried, match="cannot be read"):
        rehearsal.test(arguments(recorded[0].with_name("nowhere"), recorded[1]))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "-"), (1, "1s"), (90, "90s"), (900, "15m"), (5400, "90m"), (7200, "2h"), (172800, "2d")]
)
def test_lengths_are_written_as_rules_write_them(seconds: int, text: str) -> None:
    assert rehearsal._length(timedelta(seconds=seconds)) == text
