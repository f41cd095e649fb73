"""pkilint: nothing at warning level or above in what the service signs, but for the waivers that the doctor reads."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from ca import assembly
from ca.judges import pkilint, samples
from ca.judges.pkilint import Remark, Waiver
from ca.judges.samples import Form, Sample
from ca.store.transaction import Database
from tests.world import key_and_csr

WAIVERS = pkilint.waivers()
Judged = dict[str, list[tuple[Sample, list[Remark]]]]


@pytest.fixture(scope="module")
def judged(world: Any, subjects: Any) -> Judged:
    """What pkilint says of the newest of each kind, in a world where an agent lives and another was revoked."""
    _enrol_for_a_task(world)
    now, database = assembly.clock(), Database(f"sqlite:///{world.home}/remit.db")
    said: Judged = defaultdict(list)
    try:
        with database.read() as connection:
            for found in (samples.stored(connection, now), samples.answered(connection, world.status_url, now)):
                for sample in found:
                    said[sample.name].append((sample, pkilint.remarks(sample)))
    finally:
        database.close()
    assert subjects
    return said


def _enrol_for_a_task(world: Any) -> None:
    agent = world.new_agent(scope="read write")
    token = world.token(agent, task=world.new_task(agent, scope="read"))
    answer = world.post_csr(token, key_and_csr()[1])
    assert answer.status_code == 201, answer.text
    world.enrol_briefly()


@pytest.mark.parametrize("name", samples.NAMES)
def test_pkilint_finds_nothing_that_is_not_waived(judged: Judged, name: str) -> None:
    assert judged[name], "nothing of this kind was signed"
    for _, remarks in judged[name]:
        assert [one for one in remarks if not any(waiver.covers(name, one) for waiver in WAIVERS)] == []


def test_every_sort_of_agent_was_judged(judged: Judged) -> None:
    for sort in ("for task", "with noRevAvail"):
        assert {sort in sample.about for sample, _ in judged["agent"]} == {True, False}


@pytest.mark.parametrize("waiver", WAIVERS, ids=lambda waiver: waiver.code)
def test_every_waiver_is_still_needed(judged: Judged, waiver: Waiver) -> None:
    for name in waiver.objects:
        remarks = [one for _, found in judged[name] for one in found]
        assert any(waiver.covers(name, one) for one in remarks), f"{name} needs no waiver any more"


def test_every_waiver_has_a_reason_and_names_known_objects() -> None:
    for waiver in WAIVERS:
        assert len(waiver.reason.split()) >= 5
        assert set(waiver.objects) <= set(samples.NAMES)


def test_pkilint_would_speak_up(judged: Judged) -> None:
    """A control: with one octet of the CRL number's OID changed the very same run finds something."""
    [(sample, _)] = judged["root-crl"]
    crl_number, unknown = bytes.fromhex("0603551d14"), bytes.fromhex("0603551d7f")
    [der] = sample.ders
    assert der.count(crl_number) == 1
    assert pkilint.unwaived(Sample("root-crl", Form.ROOT_CRL, "", (der.replace(crl_number, unknown),)))


@pytest.mark.slow
def test_the_command_judges_every_kind_and_says_so(world: Any, judged: Judged) -> None:
    done = world.cli("doctor", "--lint", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = {one["part"]: one["verdict"] for one in json.loads(done.stdout) if one["part"].startswith("lint")}
    assert verdicts == {f"lint {name}": "ok" for name in samples.NAMES}
    lines = world.cli("doctor", "--lint").stdout.splitlines()
    assert [line for line in lines if line.startswith("✓ lint root ") and line.endswith("nothing to object.")]


def test_without_the_flag_nothing_is_judged(world: Any) -> None:
    assert "lint" not in world.cli("doctor").stdout


def test_without_the_extra_the_command_says_how_to_install_it(world: Any, tmp_path: Path) -> None:
    """As on a machine that has no pkilint: the interpreter finds none."""
    hidden = (
        "import importlib.util as u; find = u.find_spec; u.find_spec = lambda n, *a: n != 'pkilint' and find(n, *a)"
    )
    done = _doctor(world, tmp_path, f"{hidden} or None")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "pkilint is not installed, so nothing was judged." in done.stdout
    assert "pip install '.[lint]'" in done.stdout


def test_where_nothing_answers_the_rest_is_judged_and_what_was_not_is_named(
    world: Any, judged: Judged, tmp_path: Path
) -> None:
    done = _doctor(world, tmp_path, "pass", REMIT_STATUS_URL="http://127.0.0.1:1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "http://127.0.0.1:1 gave no OCSP answer to judge" in done.stdout
    unjudged = ", ".join(name for name in samples.NAMES if name.startswith("ocsp"))
    assert f"Nothing was judged of these kinds: {unjudged}." in done.stdout
    assert [name for name in judged if f"✓ lint {name} " in done.stdout] == [
        name for name in judged if not name.startswith("ocsp")
    ]


def test_a_finding_is_wrong_and_says_where(world: Any, judged: Judged, tmp_path: Path) -> None:
    """With no waiver at all the agent's URI is one."""
    assert judged
    done = _doctor(world, tmp_path, "from ca.judges import pkilint; pkilint.waivers = list")
    assert done.returncode == 1, done.stdout + done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("✗ lint operator ")]
    assert "pkix.invalid_uri_syntax at certificate.tbsCertificate" in line


def test_what_pkilint_cannot_read_is_not_passed() -> None:
    with pytest.raises(pkilint.Unreadable, match="Failed to load"):
        pkilint.unwaived(Sample("agent", Form.CERTIFICATE, "", (b"\x30\x00",)))


def _doctor(world: Any, folder: Path, first: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """`python -m ca.doctor --lint`, after something else in the same process."""
    run = "import runpy, sys; sys.argv = ['doctor', '--lint']; runpy.run_module('ca.doctor', run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-c", f"{first}; {run}"],
        env={**world.environment, **settings},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
