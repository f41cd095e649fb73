"""Rules as an operator tries them and puts them to use: those of the README, with the command and the running CA."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509

from tests.world import CHECKOUT, World, key_and_csr

[EXAMPLE] = re.findall(r"```cedar\n(.*?)```", (CHECKOUT / "README.md").read_text(), re.DOTALL)
SATURDAY, MONDAY = "2031-05-03T12:00:00Z", "2031-05-05T12:00:00Z"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "rules.cedar"
    file.write_text(EXAMPLE)
    return file


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A CA with the README's rules."""
    directory = tmp_path_factory.mktemp("strict")
    (directory / "rules.cedar").write_text(EXAMPLE)
    (directory / "remit.toml").write_text('[policy]\nfile = "rules.cedar"\n')
    world = World(directory).init().start()
    yield world
    world.stop()


def enrolled(world: World, scope: str) -> tuple[str, httpx2.Response]:
    agent = world.new_agent(scope=scope)
    task = world.new_task(agent, scope=scope)
    return agent, world.post_csr(world.token(agent, task=task), key_and_csr()[1])


def lifetime(answer: httpx2.Response) -> timedelta:
    assert answer.status_code == 201, answer.text
    leaf = x509.load_pem_x509_certificate(answer.json()["certificate"].encode())
    return leaf.not_valid_after_utc - leaf.not_valid_before_utc


def asking(now: str, scope: str) -> dict[str, Any]:
    return {
        "act": "enrol", "tenant": "acme", "agent": "bot", "scope": scope, "lifetime": 900, "proof": "token", "now": now
    }  # fmt: skip


def test_a_file_is_checked(world: World, rules: Path) -> None:
    done = world.cli("policy", "check", rules)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^line 2 +no-deploys-at-weekends denies$", done.stdout, re.MULTILINE)
    assert re.search(r"^line 6 +payments-are-short shortens to 5m$", done.stdout, re.MULTILINE)
    assert done.stdout.endswith(f"{rules} can be used: 2 policies.\n")
    rules.write_text(EXAMPLE.replace("context.weekday", "context.weekdays"))
    wrong = world.cli("policy", "check", rules)
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr.startswith(f"remit: {rules}, line 2, policy 'no-deploys-at-weekends': attribute `weekdays`")


def test_rules_are_tried_on_requests_from_a_file(world: World, rules: Path, tmp_path: Path) -> None:
    requests = tmp_path / "requests.jsonl"
    asked = [asking(day, scope) for day in (SATURDAY, MONDAY) for scope in ("deploy read", "payments:write", "read")]
    requests.write_text("".join(json.dumps(one) + "\n" for one in asked))
    done = world.cli("policy", "test", rules, "--requests", requests)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "2031-05-03 12:00:00Z  denied     15m -> -      enrol acme/bot by no-deploys-at-weekends",
        "2031-05-03 12:00:00Z  shortened  15m -> 5m     enrol acme/bot by payments-are-short",
        "2031-05-05 12:00:00Z  shortened  15m -> 5m     enrol acme/bot by payments-are-short",
        f"6 requests in {requests}: 1 would be denied, 2 shortened, 0 granted more, 3 the same.",
        "By policy: payments-are-short 2, no-deploys-at-weekends 1.",
    ]
    told = json.loads(world.cli("policy", "test", rules, "--requests", requests, "--json").stdout)
    assert [one["change"] for one in told["changes"]] == ["denied", "shortened", "shortened"]


def test_rules_that_take_nothing_exit_0(world: World, rules: Path, tmp_path: Path) -> None:
    requests = tmp_path / "requests.jsonl"
    requests.write_text(json.dumps(asking(SATURDAY, "read")))
    assert world.cli("policy", "test", rules, "--requests", requests).returncode == 0


def test_what_cannot_be_tried_exits_2(world: World, rules: Path, tmp_path: Path) -> None:
    (tmp_path / "wrong.jsonl").write_text("{}")
    wrong = world.cli("policy", "test", rules, "--requests", tmp_path / "wrong.jsonl")
    assert (wrong.returncode, wrong.stderr) == (2, f"remit: {tmp_path}/wrong.jsonl, line 1: 'act' is missing.\n")
    both = world.cli("policy", "test", rules, "--requests", tmp_path / "wrong.jsonl", "--since", "1d")
    assert (both.returncode, "--since is about the audit log" in both.stderr) == (2, True)
    assert world.cli("policy", "test", tmp_path / "nowhere").returncode == 2
    nowhere = World(tmp_path).cli("policy", "test", rules)
    assert (nowhere.returncode, "run 'remit init'" in nowhere.stderr) == (2, True)
    rules.write_text("permit (principal, action, resource);")
    assert world.cli("policy", "test", rules).returncode == 2


def test_rules_are_tried_on_what_the_running_ca_was_asked(world: World, rules: Path) -> None:
    """By a CA without rules; other tests ask it for other things."""
    agent, answer = enrolled(world, "payments:write")
    assert lifetime(answer) > timedelta(minutes=15)
    done = world.cli("policy", "test", rules)
    [line] = [line for line in done.stdout.splitlines() if f"default/{agent} " in line]
    assert done.returncode == 1
    assert re.search(rf"shortened +15m -> 5m +enrol default/{agent} task \S+ by payments-are-short$", line)
    assert "requests since " in done.stdout or "request since " in done.stdout


@pytest.mark.slow
def test_the_running_ca_keeps_to_its_rules(strict: World, tmp_path: Path) -> None:
    short, long = enrolled(strict, "payments:write")[1], enrolled(strict, "read")[1]
    assert lifetime(short) < timedelta(minutes=7) < lifetime(long)
    found = {one["part"]: one for one in json.loads(strict.cli("doctor", "--json").stdout)}
    assert found["policy"]["sentence"] == "rules.cedar has 2 that deny or shorten."
    done = strict.cli("policy", "test", "rules.cedar")
    assert (done.returncode, "0 shortened, 0 granted more, 2 the same" in done.stdout) == (0, True)
    (tmp_path / "none.cedar").write_text("// Nothing.\n")
    done = strict.cli("policy", "test", tmp_path / "none.cedar")
    assert (done.returncode, "0 shortened, 1 granted more, 1 the same" in done.stdout) == (0, True)


def test_a_ca_whose_rules_are_wrong_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "rules.cedar").write_text("permit (principal, action, resource);")
    world = World(tmp_path, REMIT_POLICY__FILE=str(tmp_path / "rules.cedar"))
    done = world.cli("init")
    assert done.returncode == 1
    assert "The setting policy.file is wrong" in done.stderr
    assert "line 1: only 'forbid' may stand here" in done.stderr
