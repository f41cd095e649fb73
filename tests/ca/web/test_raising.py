"""Case 38: whatever raises once an act has begun, the answer holds no certificate and no token; the trail says so."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import FastAPI, routing
from starlette.responses import JSONResponse
from structlog.testing import capture_logs

from ca.authority import hold, operators, propose, tokens
from ca.authority.compromise import PROOF
from ca.authority.issuance import Issued
from ca.authority.publisher import Publisher
from ca.authority.revoke import REASONS
from ca.identifiers import OperatorName
from ca.pki import csr
from ca.pki.profile import Kind
from ca.proofs.token import PREFIX
from ca.store import audit, certificates
from ca.store.audit import Entry
from ca.store.certificates import State
from ca.store.filters import Filter
from ca.store.operators import Role
from ca.store.proposals import Proposal
from ca.web import est
from ca.web.app import build
from ca.web.applications import PKCS10
from ca.web.enrolment import DELEGATE, RENEW
from ca.web.hook import BIND, INTROSPECT, Hook
from ca.web.issued import pem
from ca.web.peer import Receive, Scope, Send
from ca.web.problems import TYPE, Problem
from tests.ca.authority.stage import AGENT, TASK, TENANT, Key, Stage, new_key, run
from tests.world import key_and_csr

CANARY = "canary-8d1f"
ENROLMENTS = ("/v1/certificates", est.SIMPLEENROLL)
BY_AN_AGENT = (RENEW, DELEGATE, est.SIMPLEREENROLL)


@dataclass
class House:
    """The application over a stage, as the administrator calls it, or where only it may the agent."""

    stage: Stage
    door: Hook
    admin: Issued
    key: Key
    issued: Issued

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = self.issued if scope["path"] in BY_AN_AGENT else self.admin
        scope.setdefault("extensions", {})["tls"] = {"client_cert_chain": [pem(caller.der)]}
        await self.door(scope, receive, send)

    def asking(self, act: Act) -> Callable[[], httpx2.Response]:
        """The request, with whatever it needs made before."""
        proposal = self.proposal() if "{proposal}" in act.path else ""
        path = act.path.format(serial=self.issued.intent.serial, agent=AGENT, task=TASK, proposal=proposal)
        headers = {"Authorization": f"Bearer {self.token()}"} if act.path in ENROLMENTS else {}
        body = act.body() | ({"csr": self.proof()} if act.path.endswith("/proven") else {})
        if act.path in (INTROSPECT, BIND):
            body |= {"x5t#S256": self.issued.x5t.base64url}
        sent: dict[str, Any] = {"json": body}
        if act.path.startswith("/.well-known/est/"):
            headers |= {"Content-Type": PKCS10, "Accept": Problem.media_type}
            sent = {"content": key_and_csr()[1]}
        if act.path.endswith("/release"):
            hold.hold(self.stage.authority, self.issued.intent.serial, "ops")

        async def call() -> httpx2.Response:
            transport = httpx2.ASGITransport(self, raise_app_exceptions=False)
            async with httpx2.AsyncClient(transport=transport, base_url="https://ca.example") as client:
                return await client.request(act.method, path, headers=headers, **sent)

        return lambda: run(call())

    def token(self) -> str:
        """A fresh one for the agent."""
        made = {"agent": AGENT, "task": TASK, "key": None, "lifetime": tokens.DEFAULT_LIFETIME, "actor": "ops"}
        return tokens.create(self.stage.authority, tenant=TENANT, **made)[0]

    def proposal(self) -> str:
        """What another operator proposed."""
        wary = self.stage.over(self.stage.database, alone_up_to=0)
        wanted = Filter(tenant=TENANT, holder=AGENT)
        made = propose.revoke_or_propose(wary, wanted, REASONS["superseded"], "operator/other")
        wary.close()
        assert isinstance(made, Proposal)
        return made.id

    def proof(self) -> str:
        """That the agent's key is out."""
        builder = x509.CertificateSigningRequestBuilder().subject_name(PROOF)
        return builder.sign(self.key, SHA256()).public_bytes(Encoding.PEM).decode()

    def entries(self) -> list[Entry]:
        with self.stage.database.read() as connection:
            return audit.everything(connection)


@dataclass(frozen=True)
class Act:
    """A request that would be granted. `granted` is the audit entry that shows it went through."""

    method: str
    path: str
    granted: str | None
    members: dict[str, Any] = field(default_factory=dict)
    with_csr: bool = False

    def body(self) -> dict[str, Any]:
        return {**self.members, **({"csr": key_and_csr()[1].decode()} if self.with_csr else {})}


ACTS = [
    Act("POST", "/v1/certificates", "certificate.issue", {"task": TASK}, with_csr=True),
    Act("POST", RENEW, "certificate.issue", with_csr=True),
    Act("POST", DELEGATE, "certificate.issue", with_csr=True),
    Act("POST", est.SIMPLEENROLL, "certificate.issue"),
    Act("POST", est.SIMPLEREENROLL, "certificate.issue"),
    Act("POST", "/v1/enrollment-tokens", "token.create", {"agent": AGENT, "tenant": TENANT}),
    Act("POST", "/v1/operators", "certificate.issue", {"name": "new", "role": "auditor"}, with_csr=True),
    Act("POST", "/v1/agents", "agent.add", {"id": "other", "tenant": TENANT}),
    Act("PATCH", "/v1/agents/{agent}?tenant=acme", None, {"scope": "read"}),
    Act("POST", "/v1/agents/{agent}/suspend?tenant=acme", None),
    Act("POST", "/v1/tasks", None, {"agent": AGENT, "tenant": TENANT, "scope": "read"}),
    Act("PATCH", "/v1/tasks/{task}?tenant=acme", None, {"scope": ""}),
    Act("POST", "/v1/tasks/{task}/complete?tenant=acme", None),
    Act("POST", "/v1/tasks/{task}/cancel?tenant=acme", None),
    Act("POST", "/v1/revocations", "certificate.revoke", {"agent": AGENT, "tenant": TENANT}),
    Act("POST", "/v1/certificates/{serial}/revoke", "certificate.revoke", {"reason": "superseded"}),
    Act("POST", "/v1/certificates/{serial}/hold", "certificate.hold"),
    Act("POST", "/v1/certificates/{serial}/release", "certificate.release"),
    Act("POST", "/v1/revocations/proposals/{proposal}/confirm", "certificate.revoke"),
    Act("POST", "/v1/revocations/proven", "certificate.revoke"),
    Act("POST", "/v1/crls/publish", None),
    Act("POST", INTROSPECT, None),
    Act("POST", BIND, "token.bind"),
]
each_act = pytest.mark.parametrize("act", ACTS, ids=lambda act: f"{act.method} {act.path.partition('?')[0]}")


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[None]:
    yield


@pytest.fixture
def house(tmp_path: Path) -> Any:
    stage = Stage(tmp_path)
    stage.agent(max_depth=1)
    stage.task()
    request = csr.parse(key_and_csr()[1])
    _, admin = run(operators.add(stage.authority, OperatorName("admin"), Role.ADMIN, request, "ceremony"))
    with capture_logs():  # the traces that are expected here take seconds to print
        door, key = build(stage.authority, Publisher(stage.authority, "ours"), _lifespan), new_key()
        yield House(stage, door, admin, key, stage.enrol(stage.token(), key))
    stage.close()


def test_every_acting_route_is_in_the_table(house: House) -> None:
    document = house.asking(Act("GET", "/openapi.json", None))().json()
    acting = {(method.upper(), path) for path, item in document["paths"].items() for method in item if method != "get"}
    told = {(act.method, act.path.partition("?")[0]) for act in ACTS}
    # Resuming is suspending with another word, by the same function.
    assert acting - told == {("POST", "/v1/agents/{agent}/resume")}


def refuse_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything was done and committed, and the answer cannot be made: by the door, or by the framework."""
    render = JSONResponse.render

    def broken(self: JSONResponse, content: Any) -> bytes:
        if isinstance(self, Problem):
            return render(self, content)
        raise RuntimeError(f"{CANARY} in {json.dumps(content)}")

    async def unserialised(*, response_content: Any, **_: Any) -> Any:
        raise RuntimeError(f"{CANARY} in {response_content}")

    def unwritten(certificates: list[x509.Certificate], _encoding: Encoding) -> bytes:
        raise RuntimeError(f"{CANARY} in {certificates}")

    monkeypatch.setattr(JSONResponse, "render", broken)
    monkeypatch.setattr(est, "serialize_certificates", unwritten)
    monkeypatch.setattr(routing, "serialize_response", unserialised)


def refuse_the_first_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The act's last step inside its transaction raises what nobody foresaw."""
    broken: list[bool] = []

    def once(append: Callable[..., None], *arguments: object) -> None:
        if not broken:
            broken.append(True)
            raise RuntimeError(CANARY)
        append(*arguments)

    for name in ("append", "append_for_each"):
        monkeypatch.setattr(audit, name, partial(once, getattr(audit, name)))


def is_a_problem_without_secrets(answer: httpx2.Response) -> bool:
    held = answer.text
    problem = answer.status_code == 500 and answer.json()["type"] == TYPE + "internal"
    return problem and not any(word in held for word in (CANARY, "BEGIN", "Traceback", PREFIX, "RuntimeError"))


@each_act
def test_an_answer_that_cannot_be_made_tells_nothing_of_what_was_done(
    house: House, act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, before = house.asking(act), len(house.entries())
    refuse_the_answer(monkeypatch)
    answer = ask()
    assert is_a_problem_without_secrets(answer), answer.text
    since = house.entries()[before:]
    assert [one.decision for one in since].count("failed") == 1
    assert since[-1].decision == "failed"
    assert since[-1].detail == {"error": "RuntimeError"}
    assert act.granted is None or act.granted in {one.action for one in since}
    for record in house.stage.issued(Filter()):
        assert record.reached is State.ISSUED
    for kind in (Kind.AGENT, Kind.OPERATOR):
        wanted = Filter(kind=kind, state="live")
        for record in house.stage.issued(wanted):
            house.stage.revoke(Issued(record.intent, record.der, record.x5t))
        assert not house.stage.issued(wanted), "whatever was made can be revoked"


WITH_AN_ENTRY = [act for act in ACTS if act.path not in ("/v1/crls/publish", INTROSPECT)]


@pytest.mark.parametrize("act", WITH_AN_ENTRY, ids=lambda act: f"{act.method} {act.path.partition('?')[0]}")
def test_a_step_that_raises_takes_the_whole_act_with_it(
    house: House, act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, before, signed = house.asking(act), len(house.entries()), len(house.stage.signer.signed)
    certified = house.stage.issued(Filter())
    refuse_the_first_entry(monkeypatch)
    answer = ask()
    assert is_a_problem_without_secrets(answer), answer.text
    assert [(one.decision, one.detail) for one in house.entries()[before:]] == [("failed", {"error": "RuntimeError"})]
    assert house.stage.issued(Filter()) == certified
    assert len(house.stage.signer.signed) == signed, "nothing was signed"
    with house.stage.database.read() as connection:
        assert not certificates.unfinished(connection)
