"""`/v1/revocations` where policy wants a second operator, and what it answers: counts, serials, a tree."""

from __future__ import annotations

from base64 import encodebytes
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from ca.authority.compromise import PROOF
from ca.authority.propose import LIFETIME
from ca.identifiers import Thumbprint
from ca.pki import keys
from ca.refusals import Reason
from ca.store.operators import Role
from tests.ca.authority.stage import AGENT, TASK, TENANT, Key, new_key
from tests.ca.store import rows
from tests.ca.web.calls import Calls, refused

MINE = {"agent": AGENT, "tenant": TENANT}
PROPOSALS = "/v1/revocations/proposals"


@pytest.fixture
def calls(calls: Calls) -> Calls:
    """One operator may revoke one alone; the agent has two."""
    calls.stage.authority.close()
    calls.stage.authority = calls.stage.over(calls.stage.database, alone_up_to=1)
    for _ in range(2):
        calls.stage.enrolled()
    return Calls(calls.stage)


def states(calls: Calls) -> set[str]:
    return {record.state(calls.stage.clock()) for record in calls.stage.issued()}


def test_what_is_proposed_is_told_and_waits_and_another_confirms_it(calls: Calls) -> None:
    alice, bob = calls.operator("alice"), calls.operator("bob")
    answer = calls.post("/v1/revocations", alice, {**MINE, "reason": "superseded"})
    assert answer.status_code == 202
    told = answer.json()
    assert {**told, "proposal": None, "expires_at": None, "proposed_by": None} == {
        **dict.fromkeys(("proposal", "expires_at", "proposed_by", "serial", "task", "key", "descendants_of")),
        **MINE,
        "reason": "superseded",
        "count": 2,
    }
    assert told["proposed_by"] == "operator/alice"
    assert told["expires_at"] == _rfc3339(calls, LIFETIME)
    assert (states(calls), calls.publisher.woken) == ({"live"}, 0)
    assert calls.get(PROPOSALS, bob).json() == {"items": [told], "next": None}
    path = f"{PROPOSALS}/{told['proposal']}/confirm"
    assert refused(calls.post(path, alice), Reason.FORBIDDEN)
    done = calls.post(path, bob)
    assert done.status_code == 200
    assert (done.json()["count"], len(done.json()["serials"]), done.json()["reason"]) == (2, 2, "superseded")
    assert (states(calls), calls.publisher.woken) == ({"revoked"}, 1)
    assert calls.get(PROPOSALS, bob).json()["items"] == []
    assert refused(calls.post(path, bob), Reason.CONFLICT)
    assert calls.publisher.woken == 1


def _rfc3339(calls: Calls, ahead: timedelta) -> str:
    return (calls.stage.clock() + ahead).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_one_that_lapsed_is_neither_shown_nor_confirmed(calls: Calls) -> None:
    alice, bob = calls.operator("alice"), calls.operator("bob")
    told = calls.post("/v1/revocations", alice, MINE).json()
    calls.stage.clock.now += LIFETIME
    calls.stage.clock.forward(seconds=-1)
    assert calls.get(PROPOSALS, bob).json()["items"]
    calls.stage.clock.forward(seconds=1)
    assert calls.get(PROPOSALS, bob).json()["items"] == []
    assert refused(calls.post(f"{PROPOSALS}/{told['proposal']}/confirm", bob), Reason.CONFLICT)


def test_a_dry_run_proposes_nothing(calls: Calls) -> None:
    alice = calls.operator("alice")
    answer = calls.post("/v1/revocations", alice, {**MINE, "dry_run": True})
    assert (answer.status_code, answer.json()["count"], answer.json()["dry_run"]) == (200, 2, True)
    assert calls.get(PROPOSALS, alice).json()["items"] == []
    assert calls.publisher.woken == 0


def test_up_to_the_threshold_it_is_done_at_once(calls: Calls) -> None:
    alice = calls.operator("alice")
    calls.stage.revoke(_one(calls))
    answer = calls.post("/v1/revocations", alice, MINE)
    assert (answer.status_code, answer.json()["count"]) == (200, 1)
    assert calls.publisher.woken == 1


def _one(calls: Calls) -> Any:
    return calls.stage.issued()[0]


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.ORCHESTRATOR, Role.RELYING_PARTY])
def test_who_may_not_revoke_confirms_nothing(calls: Calls, role: Role) -> None:
    told = calls.post("/v1/revocations", calls.operator("alice"), MINE).json()
    other = calls.operator("other", role)
    assert refused(calls.post(f"{PROPOSALS}/{told['proposal']}/confirm", other), Reason.FORBIDDEN)
    assert calls.get(PROPOSALS, other).status_code == (403 if role is Role.RELYING_PARTY else 200)
    assert states(calls) == {"live"}


def test_an_agent_sees_and_confirms_nothing(calls: Calls) -> None:
    told = calls.post("/v1/revocations", calls.operator("alice"), MINE).json()
    agent = calls.stage.enrolled()
    assert refused(calls.get(PROPOSALS, agent), Reason.FORBIDDEN)
    assert refused(calls.post(f"{PROPOSALS}/{told['proposal']}/confirm", agent), Reason.FORBIDDEN)


@pytest.mark.parametrize("name", ["nothing", "%00", "..%2f..", "a" * 300])
def test_an_unknown_proposal_is_not_found(calls: Calls, name: str) -> None:
    assert refused(calls.post(f"{PROPOSALS}/{name}/confirm", calls.operator("alice")), Reason.NOT_FOUND)


# Lineages.


def family(calls: Calls) -> list[str]:
    """A mother, her daughter and a granddaughter."""
    now = calls.stage.clock().replace(microsecond=0)
    made = []
    for number in range(3):
        one = rows.intent(number + 1, parent=made[-1].serial if made else None, not_after=now + timedelta(minutes=9))
        made.append(replace(one, task=None, key=Thumbprint.of(b"%d" % number), created_at=now))
    rows.issue(calls.stage.database, *made)
    return [str(one.serial) for one in made]


def test_the_answer_is_a_tree_before_and_after(calls: Calls) -> None:
    ops, (mother, daughter, granddaughter) = calls.operator("ops"), family(calls)
    body = {"descendants_of": mother, "reason": "superseded"}
    dry = calls.post("/v1/revocations", ops, {**body, "dry_run": True}).json()
    assert (dry["count"], dry["serials"], dry["blocked_keys"]) == (2, [daughter, granddaughter], [])
    common = {"tenant": TENANT, "holder": AGENT, "task": None}
    leaf = {"serial": granddaughter, **common, "children": []}
    assert dry["tree"] == [{"serial": daughter, **common, "children": [leaf]}]
    told = calls.post("/v1/revocations", ops, body)
    assert (told.status_code, told.json()["descendants_of"]) == (202, mother)
    done = calls.post(f"{PROPOSALS}/{told.json()['proposal']}/confirm", calls.operator("bob")).json()
    assert done == {**dry, "dry_run": False}
    shown = calls.get(f"/v1/certificates?agent={AGENT}&tenant={TENANT}&state=revoked", ops).json()["items"]
    assert {item["serial"]: item["parent"] for item in shown} == {daughter: mother, granddaughter: daughter}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"descendants_of": ""},
        {"descendants_of": "zz"},
        {"descendants_of": 5},
        {"descendants_of": "01" * 30},
        {"descendants_of": "01", "tenant": TENANT},
        {"descendants_of": "01", "agent": AGENT},
        {"descendants_of": "01", "key": "ab" * 32},
        {"agent": AGENT, "task": TASK},
        {"agent": AGENT, "unknown": True},
        {"agent": AGENT, "dry_run": "perhaps"},
    ],
    ids=str,
)
def test_one_thing_is_named_and_nothing_beside_it(calls: Calls, body: dict[str, object]) -> None:
    assert refused(calls.post("/v1/revocations", calls.operator("ops"), body), Reason.MALFORMED)


# Proofs.


def proof(key: Key, subject: x509.Name = PROOF) -> dict[str, str]:
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return {"csr": builder.sign(key, SHA256()).public_bytes(Encoding.PEM).decode()}


def test_a_stranger_with_the_key_revokes_it_whatever_the_threshold(calls: Calls) -> None:
    key = new_key()
    made = [calls.stage.enrol(calls.stage.token(), key) for _ in range(3)]
    answer = calls.post("/v1/revocations/proven", None, proof(key))
    digest = keys.thumbprint(key.public_key()).hex
    assert (answer.status_code, answer.json()) == (200, {"key_sha256": digest, "reason": "keyCompromise"})
    assert {calls.stage.record(one).reason for one in made} == {"keyCompromise"}
    assert calls.publisher.woken == 1


def test_known_and_unknown_keys_get_the_same_answer(calls: Calls) -> None:
    known, unknown = new_key(), new_key()
    calls.stage.enrol(calls.stage.token(), known)
    answers = [calls.post("/v1/revocations/proven", None, proof(key)) for key in (known, unknown, known)]
    assert {answer.status_code for answer in answers} == {200}
    assert len({frozenset(answer.json()) for answer in answers}) == 1
    assert [answer.json()["key_sha256"] for answer in answers] == [
        keys.thumbprint(key.public_key()).hex for key in (known, unknown, known)
    ]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, Reason.MALFORMED),
        ({"csr": ""}, Reason.CSR_MALFORMED),
        ({"csr": "x" * 16385}, Reason.MALFORMED),
        ({"csr": "hello"}, Reason.CSR_MALFORMED),
        ({**proof(new_key()), "reason": "superseded"}, Reason.MALFORMED),
        (proof(new_key(), x509.Name([])), Reason.MALFORMED),
    ],
    ids=["nothing", "empty", "too long", "no CSR", "a reason", "a request for a certificate"],
)
def test_what_is_no_proof_is_refused(calls: Calls, body: dict[str, str], reason: Reason) -> None:
    answer = calls.post("/v1/revocations/proven", None, body)
    assert refused(answer, reason), answer.text
    assert calls.publisher.woken == 0


def test_a_proof_whose_signature_is_anothers_is_refused(calls: Calls) -> None:
    """The last octets are the signature's."""
    key = new_key()
    issued = calls.stage.enrol(calls.stage.token(), key)
    der = x509.load_pem_x509_csr(proof(key)["csr"].encode()).public_bytes(Encoding.DER)
    broken = der[:-1] + bytes([der[-1] ^ 1])
    text = f"-----BEGIN CERTIFICATE REQUEST-----\n{encodebytes(broken).decode()}-----END CERTIFICATE REQUEST-----\n"
    answer = calls.post("/v1/revocations/proven", None, {"csr": text})
    assert refused(answer, Reason.CSR_UNPROVEN), answer.text
    assert calls.stage.record(issued).reason is None
