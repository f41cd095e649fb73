"""The command as people and start-up scripts use it, against the running authority."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.world import World


def test_an_operator_s_first_five_minutes(world: World, tmp_path: Path) -> None:
    agent = world.json("agent", "add", "researcher", "--scope", "files:read tickets:write", "--max-lifetime", "15m")
    assert (agent["id"], agent["status"], agent["max_lifetime"]) == ("researcher", "active", 900)
    details = tmp_path / "details.json"
    details.write_text('[{"type": "agent_task", "actions": ["tools/call"]}]')
    task = world.json(
        *("task", "open", "report-42", "--agent", "researcher", "--scope", "files:read", "--deadline", "8h"),
        *("--resource", "https://mcp.example/files", "--authorization-details", details),
    )
    assert (task["id"], task["status"], task["scope"]) == ("report-42", "running", "files:read")
    created = world.cli("token", "create", "--agent", "researcher", "--task", "report-42")
    assert created.stdout.startswith("remit_et_")
    assert created.stdout.count("\n") == 1, "stdout holds the token alone"
    enrolled = enroll(world, created.stdout.strip(), tmp_path / "creds")
    assert enrolled["task"] == "report-42"
    shown = world.cli("cert", "show", enrolled["serial"])
    assert "CN=researcher,OU=default,O=Remit" in shown.stdout
    assert all(words in shown.stdout for words in ("report-42", "files:read", "https://mcp.example/files"))
    assert enrolled["serial"] in world.cli("cert", "list", "--agent", "researcher", "--state", "live").stdout
    ended = world.json("task", "complete", "report-42")
    assert ended["revoked"] == [enrolled["serial"]]
    assert world.json("cert", "show", enrolled["serial"])["reason"] == "cessationOfOperation"


def test_the_three_files_change_together_and_are_private(world: World, tmp_path: Path) -> None:
    agent, directory = world.new_agent(), tmp_path / "creds"
    first = enroll(world, world.token(agent), directory)
    assert stat.S_IMODE((directory / "tls.key").stat().st_mode) == 0o600
    before = (directory / "tls.key").read_bytes()
    second = enroll(world, world.token(agent), directory)
    assert first["serial"] != second["serial"]
    assert (directory / "tls.key").read_bytes() != before
    leaf, issuing = x509.load_pem_x509_certificates((directory / "tls.crt").read_bytes())
    leaf.verify_directly_issued_by(issuing)
    assert f"{leaf.serial_number:038x}" == second["serial"]
    versions = [entry for entry in directory.iterdir() if entry.is_dir() and not entry.is_symlink()]
    assert len(versions) == 1, "the version before is gone"


def test_a_directory_with_someone_else_s_key_is_left_alone(world: World, tmp_path: Path) -> None:
    (tmp_path / "tls.key").write_text("mine")
    token = world.token(world.new_agent())
    refused = enroll_raw(world, token, tmp_path)
    assert refused.returncode == 1
    assert "was not written by remit" in refused.stderr
    assert (tmp_path / "tls.key").read_text() == "mine"
    enroll(world, token, tmp_path / "other")


def test_another_root_gets_no_token(world: World, tmp_path: Path) -> None:
    refused = world.cli(
        *("enroll", "--ca", world.api_url, "--root-fingerprint", "ab" * 32, "--token", "remit_et_" + "x" * 43),
        *("--dir", tmp_path / "creds"),
    )
    assert refused.returncode == 1
    assert "another root than expected" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_spent_token_is_refused_in_one_sentence(world: World, tmp_path: Path) -> None:
    token = world.token(world.new_agent())
    enroll(world, token, tmp_path / "one")
    refused = enroll_raw(world, token, tmp_path / "two")
    assert refused.returncode == 1
    assert refused.stderr.strip().count("\n") == 0
    assert "bring a new one" in refused.stderr
    assert not (tmp_path / "two").exists()


def test_revoking_by_agent_says_first_what_it_would_be(world: World) -> None:
    enrolled = world.enrol()
    rehearsal = world.json("revoke", "--agent", enrolled.agent, "--dry-run")
    assert (rehearsal["count"], rehearsal["serials"]) == (1, [enrolled.serial])
    assert world.json("cert", "show", enrolled.serial)["state"] == "live"
    done = world.json("revoke", "--agent", enrolled.agent, "--reason", "privilegeWithdrawn")
    assert done["serials"] == [enrolled.serial]
    assert world.json("cert", "show", enrolled.serial)["reason"] == "privilegeWithdrawn"


@pytest.mark.parametrize("found", ["tls.crt", "tls.key", "digest"])
def test_a_compromised_key_is_revoked_and_blocked_wherever_it_was_found(world: World, found: str) -> None:
    """Case 19: in a certificate, in the private key itself, or by its digest."""
    enrolled = world.enrol()
    certificate = x509.load_pem_x509_certificate(enrolled.cert.read_bytes())
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = sha256(spki).hexdigest()
    named = digest.upper() if found == "digest" else enrolled.dir / found
    expected = {
        "dry_run": True,
        "count": 1,
        "serials": [enrolled.serial],
        "tree": [
            {"serial": enrolled.serial, "tenant": "default", "holder": enrolled.agent, "task": None, "children": []}
        ],
        "blocked_keys": [digest],
        "reason": "keyCompromise",
    }
    assert world.json("revoke", "--key", named, "--dry-run") == expected
    assert world.json("cert", "show", enrolled.serial)["state"] == "live"
    assert world.json("revoke", "--key", named) == {**expected, "dry_run": False}
    assert world.json("cert", "show", enrolled.serial)["reason"] == "keyCompromise"
    assert world.cli("revoke", "--key", named).stderr == "Revoked 0, reason keyCompromise; blocked 0 key(s).\n"


def test_a_serial_may_have_colons_and_upper_case(world: World) -> None:
    serial = world.enrol().serial
    spelled = ":".join(serial[i : i + 2] for i in range(0, len(serial), 2)).upper()
    assert world.json("revoke", spelled, "--reason", "superseded")["serial"] == serial


def test_an_operator_of_another_role_may_do_what_the_role_may(world: World, tmp_path: Path) -> None:
    made = world.json("operator", "add", "alice", "--role", "auditor", "--dir", tmp_path / "alice")
    assert made["role"] == "auditor"
    assert world.cli("cert", "list", "--credential", tmp_path / "alice").returncode == 0
    refused = world.cli("agent", "add", "mallory", "--credential", tmp_path / "alice")
    assert refused.returncode == 1
    assert "The role auditor may not register agents and tasks." in refused.stderr
    assert "alice" in world.cli("operator", "list").stdout


def test_suspending_stops_enrolment_and_resuming_allows_it(world: World, tmp_path: Path) -> None:
    agent = world.new_agent()
    token = world.token(agent)
    assert world.json("agent", "suspend", agent)["status"] == "suspended"
    assert "suspended" in enroll_raw(world, token, tmp_path / "no").stderr
    assert world.json("agent", "resume", agent)["status"] == "active"
    enroll(world, token, tmp_path / "yes")


def test_the_ceiling_can_be_changed(world: World) -> None:
    agent = world.new_agent(scope="a")
    assert world.json("agent", "update", agent, "--scope", "a b", "--max-depth", "2")["scope"] == "a b"
    assert world.json("agent", "show", agent)["max_depth"] == 2
    assert agent in world.cli("agent", "list", "--limit", "9999").stdout


def test_a_list_says_when_there_is_more(world: World) -> None:
    for _ in range(2):
        world.new_agent()
    one = world.cli("agent", "list", "--limit", "1")
    assert one.stderr == "There are more than these 1; --limit shows more.\n"
    assert len(one.stdout.splitlines()) == 2, "a heading and one"
    assert len(world.json("agent", "list", "--limit", "1")) == 1
    assert world.cli("agent", "list", "--limit", "9999").stderr == ""


def test_the_lists_are_shown_and_published_anew(world: World) -> None:
    before = {(item["issuer"], item["shard"]): item["number"] for item in world.json("crl", "show")}
    after = {(item["issuer"], item["shard"]): item["number"] for item in world.json("crl", "publish")}
    assert {("root-1", 0), ("issuing-1", 0), *(("issuing-1", shard) for shard in range(1, 17))} <= before.keys()
    assert after.keys() == before.keys() | {("issuing-1", -1)}, "a full list that follows another has a delta"
    assert all(after[name] > number for name, number in before.items())


def test_doctor_finds_nothing_wrong_in_a_running_authority(world: World) -> None:
    done = world.cli("doctor", "--json")
    assert done.returncode == 0, done.stdout
    verdicts = {finding["part"]: finding["verdict"] for finding in json.loads(done.stdout)}
    assert verdicts.pop("oid arc") == "warning"
    assert set(verdicts.values()) == {"ok"}


def test_doctor_names_what_is_missing_and_the_mend(tmp_path: Path) -> None:
    done = World(tmp_path).cli("doctor")
    assert done.returncode == 1
    assert "Run 'remit init'" in done.stdout


def test_an_unknown_setting_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    done = World(tmp_path, REMIT_TRUST_DOMAN="x").cli("init")
    assert done.returncode == 1
    assert "did you mean REMIT_TRUST_DOMAIN?" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("revoke",),
        ("revoke", "ab", "--agent", "x"),
        ("revoke", "--key", "ab" * 32, "--agent", "x"),
        ("revoke", "--key", __file__),
        ("agent", "add"),
        ("nonsense",),
        ("cert", "list", "--state", "odd"),
    ],
)
def test_wrong_usage_exits_2(world: World, arguments: tuple[str, ...]) -> None:
    assert world.cli(*arguments).returncode == 2


def test_init_again_changes_nothing(world: World) -> None:
    before = world.root_fingerprint
    done = world.cli("init")
    assert done.returncode == 0, done.stderr
    assert before in done.stdout
    assert world.root_fingerprint == before


def test_the_command_starts_quickly_because_heavy_imports_wait() -> None:
    loaded = "import sys, remit.cli; print([m for m in ('httpx2', 'cryptography', 'rich') if m in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"


def enroll(world: World, token: str, directory: Path) -> dict[str, str]:
    """Enrols with the token in a file; it must succeed."""
    done = enroll_raw(world, token, directory)
    assert done.returncode == 0, done.stderr
    answer: dict[str, str] = json.loads(done.stdout)
    return answer


def enroll_raw(world: World, token: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Enrols with the token on standard input."""
    return world.cli(
        *("enroll", "--ca", world.api_url, "--root-fingerprint", world.root_fingerprint),
        *("--token-file", "-", "--dir", directory, "--json"),
        stdin=token,
    )


def test_an_agent_is_known_to_a_provider_and_its_task_is_narrowed(world: World) -> None:
    agent = world.new_agent(scope="read write")
    subject = f"system:serviceaccount:agents:{agent}"
    identity = ("--oidc-issuer", "https://kubernetes.default.svc", "--oidc-subject", subject)
    changed = world.json("agent", "update", agent, *identity)
    assert (changed["oidc_issuer"], changed["oidc_subject"]) == (identity[1], subject)
    refused = world.cli("agent", "add", f"{agent}-twin", *identity)
    assert refused.returncode == 1
    assert "exists already" in refused.stderr
    task = world.new_task(agent, scope="read write")
    narrowed = world.json("task", "narrow", task, "--scope", "read", "--deadline", "1h")
    assert narrowed["scope"] == "read"
    wider = world.cli("task", "narrow", task, "--scope", "read write")
    assert (wider.returncode, "exceeds what may be had: 'read'" in wider.stderr) == (1, True)
