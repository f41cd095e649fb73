"""Stopping certificates as an operator types it: holds, a whole tenant, the second operator, a key that is out."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import holder
from tests.world import World, key_and_csr


@pytest.fixture(scope="module")
def careful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Where one operator revokes one certificate by a call, and no more."""
    made = World(tmp_path_factory.mktemp("careful"), REMIT_REVOCATION__ALONE_UP_TO="1").init().start()
    yield made
    made.stop()


def state(world: World, serial: str) -> str:
    return str(world.json("cert", "show", serial)["state"])


def test_a_hold_is_taken_back_and_a_revocation_is_not(world: World) -> None:
    serial = world.enrol().serial
    assert world.json("hold", serial)["state"] == "held"
    assert world.json("hold", serial)["state"] == "held", "said twice it is the same"
    assert serial in {one["serial"] for one in world.json("cert", "list", "--state", "held")}
    assert "held at" in world.cli("cert", "show", serial).stdout
    assert world.json("release", serial)["state"] == "live"
    assert world.json("revoke", serial)["state"] == "revoked"
    refused = world.cli("release", serial)
    assert (refused.returncode, "revoked for good" in refused.stderr) == (1, True)
    assert world.cli("hold", serial).returncode == 1


def test_a_whole_tenant(world: World) -> None:
    tenant = "doomed"
    with world.operator() as operator:
        for name in ("one", "two"):
            operator.post("/v1/agents", json={"id": name, "tenant": tenant})
    tokens = [world.json("token", "create", "--agent", name, "--tenant", tenant)["token"] for name in ("one", "two")]
    serials = [enrolled(world, token) for token in tokens]
    rehearsal = world.cli("revoke", "--tenant", tenant, "--dry-run")
    assert rehearsal.stderr == "Would revoke 2, reason unspecified.\n"
    assert [line.split("  ")[0] for line in rehearsal.stdout.splitlines()] == serials
    assert world.json("revoke", "--tenant", tenant)["count"] == 2
    assert {state(world, serial) for serial in serials} == {"revoked"}


def enrolled(world: World, token: str) -> str:
    answer = world.post_csr(token, key_and_csr()[1])
    assert answer.status_code == 201, answer.text
    return str(answer.json()["serial"])


def test_more_than_one_operator_may_revoke_needs_a_second(careful: World, tmp_path: Path) -> None:
    agent = careful.new_agent()
    serials = [enrolled(careful, careful.token(agent)) for _ in range(2)]
    proposed = careful.cli("revoke", "--agent", agent, "--reason", "superseded")
    assert proposed.returncode == 1
    assert "Nothing is revoked yet: 2 are more than one operator may revoke" in proposed.stderr
    [waiting] = careful.json("revoke", "--waiting")
    assert (waiting["agent"], waiting["count"], waiting["proposed_by"]) == (agent, 2, "operator/admin")
    alone = careful.cli("revoke", "--confirm", waiting["proposal"])
    assert (alone.returncode, "another operator must" in alone.stderr) == (1, True)
    assert {state(careful, serial) for serial in serials} == {"live"}

    careful.json("operator", "add", "second", "--role", "operator", "--dir", tmp_path / "second")
    confirmed = careful.json("revoke", "--confirm", waiting["proposal"], "--credential", tmp_path / "second")
    assert confirmed["serials"] == serials
    assert {state(careful, serial) for serial in serials} == {"revoked"}
    assert careful.json("revoke", "--waiting") == []
    assert careful.json("revoke", enrolled(careful, careful.token(agent)))["state"] == "revoked", "one is one"


def test_whoever_has_a_key_that_is_out_can_say_so_with_openssl_alone(world: World, tmp_path: Path) -> None:
    """Case 19: nobody needs to be known for it, and what enrolled with that key is revoked."""
    found = world.enrol()
    proof = tmp_path / "proof.pem"
    command = ["openssl", "req", "-new", "-key", str(found.dir / "tls.key"), "-subj", "/CN=Proof of Key Compromise"]
    subprocess.run([*command, "-out", str(proof)], check=True, capture_output=True, timeout=30)
    curl = ["curl", "--silent", "--show-error", "--fail", "--cacert", str(world.root_pem)]
    call = ["--json", json.dumps({"csr": proof.read_text()}), f"{world.api_url}/v1/revocations/proven"]
    told = subprocess.run([*curl, *call], check=True, capture_output=True, timeout=30, text=True).stdout
    assert json.loads(told)["reason"] == "keyCompromise"
    assert state(world, found.serial) == "revoked"


def test_the_blast_radius_of_one_certificate_is_its_lineage(world: World) -> None:
    parent = holder.enrolled(world, max_depth=2)
    _, child = parent.post("/v1/certificates/delegate")
    assert child is not None
    _, grandchild = child.post("/v1/certificates/delegate")
    assert grandchild is not None
    serials = [str(one.answer["serial"]) for one in (parent, child, grandchild)]
    dry = world.cli("revoke", serials[0], "--dry-run")
    assert dry.stderr == "Would revoke 3, reason unspecified.\n"
    drawn = [line.split("  ")[0] for line in dry.stdout.splitlines()]
    assert drawn[:2] == [serials[0], f"└─ {serials[1]}"]
    assert f"   └─ {serials[2]}" in dry.stdout
    assert f"by {serials[1]}, depth 2 of 2" in world.cli("cert", "show", serials[2]).stdout
    assert world.cli("revoke", serials[0]).returncode == 0
    assert {state(world, serial) for serial in serials} == {"revoked"}
