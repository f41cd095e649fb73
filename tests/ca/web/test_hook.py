"""The hook's questions as relying parties ask them: what a certificate is worth, and a token bound to it."""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from tests.holder import Holder, enrolled
from tests.world import World

INTROSPECT, BIND = "/v1/as/introspect", "/v1/as/bind"


@dataclass(frozen=True)
class Party:
    """A relying party with its credential and its key."""

    world: World
    name: str
    key: str

    def ask(self, path: str, **members: Any) -> httpx2.Response:
        with self.world.client(self.world.directory / self.name) as client:
            return client.post(path, json=members)

    def told(self, path: str, **members: Any) -> dict[str, Any]:
        answer = self.ask(path, **members)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


def party(world: World, name: str, *options: str) -> Party:
    file = world.directory / f"{name}.key"
    if not file.exists():
        command = ("operator", "add", name, "--role", "relying-party", "--key-file", file, *options)
        done = world.cli(*command, "--dir", world.directory / name)
        assert done.returncode == 0, done.stderr
        assert file.stat().st_mode & 0o777 == 0o600
    return Party(world, name, file.read_text())


@pytest.fixture
def server(world: World) -> Party:
    """An authorization server that may hear reasons."""
    return party(world, "as-1", "--issuer", "https://as.example", "--reasons")


@pytest.fixture
def agent(world: World) -> Iterator[Holder]:
    yield enrolled(world, max_depth=2)


def certificate(one: Holder) -> x509.Certificate:
    return x509.load_pem_x509_certificates(one.answer["chain"].encode())[0]


def der(one: Holder) -> bytes:
    return certificate(one).public_bytes(Encoding.DER)


def x5t(one: Holder) -> str:
    return str(one.answer["x5t#S256"])


def jkt(one: Holder) -> str:
    """RFC 7638, by hand."""
    key = certificate(one).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    point = key.public_numbers()
    x, y = (base64.urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode() for n in (point.x, point.y))
    digest = hashes.Hash(hashes.SHA256())
    digest.update(f'{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'.encode())
    return base64.urlsafe_b64encode(digest.finalize()).rstrip(b"=").decode()


def test_what_a_live_certificate_is_worth(server: Party, agent: Holder) -> None:
    told = server.told(INTROSPECT, certificate=agent.answer["certificate"])
    leaf, answer = certificate(agent), agent.answer
    assert told == {
        "active": True,
        "iss": server.world.api_url,
        "client_id": answer["client_id"],
        "sub": answer["spiffe_id"],
        "cnf": {"x5t#S256": x5t(agent), "jkt": jkt(agent)},
        "nbf": int(leaf.not_valid_before_utc.timestamp()),
        "exp": int(leaf.not_valid_after_utc.timestamp()),
        "tls_client_auth_subject_dn": leaf.subject.rfc4514_string(),
        "tls_client_auth_san_uri": answer["spiffe_id"],
        "x509": {"issuer": leaf.issuer.rfc4514_string(), "serial": answer["serial"]},
        "task": {"id": answer["task"], "status": "running", "exp": told["task"]["exp"]},
        "scope": "read write",
        "resource": ["https://a.example"],
        "authorization_details": [],
        "max_token_exp": told["max_token_exp"],
        "status_as_of": told["status_as_of"],
    }
    assert abs(told["status_as_of"] - time.time()) < 5
    assert 290 <= told["max_token_exp"] - told["status_as_of"] <= 300


def test_it_is_named_in_many_ways(server: Party, agent: Holder) -> None:
    plain = base64.b64encode(der(agent)).decode()
    issuer = certificate(agent).issuer.rfc4514_string()
    for members in (
        {"certificate": plain},
        {"certificate": f":{plain}:"},
        {"certificate": agent.answer["certificate"]},
        {"certificate": agent.answer["chain"]},
        {"x5t#S256": x5t(agent)},
        {"issuer": issuer, "serial": agent.answer["serial"]},
        {"issuer": issuer, "serial": agent.answer["serial"].upper(), "client_id": agent.answer["client_id"]},
    ):
        assert server.told(INTROSPECT, **members)["sub"] == agent.answer["spiffe_id"], members


def test_a_form_does_as_well(server: Party, agent: Holder) -> None:
    with server.world.client() as anybody:
        headers = {"Authorization": f"Bearer {server.key}"}
        answer = anybody.post(INTROSPECT, data={"x5t#S256": x5t(agent)}, headers=headers)
        bound = anybody.post(
            BIND,
            data={
                "x5t#S256": x5t(agent),
                "resource": ["https://a.example"],
                "authorization_details": "[]",
                "subject": json.dumps({"iss": "https://idp.example", "sub": "alice"}),
            },
            headers=headers,
        )
    assert answer.json()["active"] is True
    assert answer.headers["cache-control"] == "private, max-age=5"
    assert (bound.status_code, bound.json()["resource"]) == (200, ["https://a.example"])


def test_what_is_revoked_is_worth_nothing_at_once(server: Party, agent: Holder) -> None:
    """Scenario 7: the next question after the answer to the revocation."""
    quiet = party(server.world, "rs-1")
    with server.world.operator() as operator:
        path = f"/v1/certificates/{agent.answer['serial']}"
        assert operator.post(f"{path}/hold").status_code == 200
        assert server.told(INTROSPECT, **{"x5t#S256": x5t(agent)})["reason"] == "certificate_on_hold"
        assert operator.post(f"{path}/release").status_code == 200
        assert server.told(INTROSPECT, **{"x5t#S256": x5t(agent)})["active"] is True
        assert operator.post(f"{path}/revoke", json={"reason": "keyCompromise"}).status_code == 200
    answer = server.ask(INTROSPECT, **{"x5t#S256": x5t(agent)})
    told = answer.json()
    assert (told["active"], told["reason"], told["terminal"]) == (False, "certificate_revoked", True)
    assert abs(told["revoked_at"] - time.time()) < 5
    assert answer.headers["cache-control"] == "private, max-age=3600"
    unsaid = quiet.ask(INTROSPECT, **{"x5t#S256": x5t(agent)})
    assert (unsaid.json(), unsaid.headers["cache-control"]) == ({"active": False}, "no-store")
    bound = server.told(BIND, **{"x5t#S256": x5t(agent)})
    assert bound["oauth_error"]["error"] == "invalid_client"
    assert bound["oauth_error"]["status"] == 401


def test_a_token_is_bound_to_what_was_asked_and_no_more(server: Party, agent: Holder) -> None:
    whole = server.told(BIND, certificate=agent.answer["certificate"], grant_type="client_credentials")
    assert (whole["scope"], whole["resource"], whole["cnf"]) == (
        "read write",
        ["https://a.example"],
        {"x5t#S256": x5t(agent)},
    )
    assert whole["binding_id"].startswith("b_")
    narrow = server.told(
        BIND,
        certificate=agent.answer["certificate"],
        scope="read",
        resource="https://a.example",
        requested_exp=int(time.time()) + 30,
    )
    assert (narrow["scope"], narrow["binding_id"] == whole["binding_id"]) == ("read", False)
    assert narrow["max_token_exp"] <= time.time() + 30


@pytest.mark.parametrize(
    ("members", "error"),
    [
        ({"scope": "read admin"}, "invalid_scope"),
        ({"resource": ["https://b.example"]}, "invalid_target"),
        ({"authorization_details": [{"type": "pay"}]}, "invalid_authorization_details"),
        ({"client_id": "https://ca.example/clients/default/other"}, "invalid_client"),
        ({"dpop_jkt": "A" * 43}, "invalid_client"),
    ],
)
def test_what_exceeds_the_task_is_refused_in_words_to_relay(
    server: Party, agent: Holder, members: dict[str, Any], error: str
) -> None:
    """Scenario 12."""
    told = server.told(BIND, **{"x5t#S256": x5t(agent)}, **members)
    assert (told["active"], told["oauth_error"]["error"]) == (False, error)


def test_a_token_may_be_bound_to_the_key(server: Party, agent: Holder) -> None:
    """Scenario 18: by the key's thumbprint, until the certificate that has it is revoked."""
    assert server.told(INTROSPECT, jkt=jkt(agent))["active"] is False
    bound = server.told(BIND, **{"x5t#S256": x5t(agent)}, binding_method="jkt", dpop_jkt=jkt(agent))
    assert bound["cnf"] == {"jkt": jkt(agent)}
    assert server.told(INTROSPECT, jkt=jkt(agent))["sub"] == agent.answer["spiffe_id"]
    assert server.world.cli("revoke", agent.answer["serial"]).returncode == 0
    assert server.told(INTROSPECT, jkt=jkt(agent))["reason"] == "certificate_revoked"


def test_a_task_that_is_narrowed_or_ended_is_so_in_the_next_answer(server: Party, agent: Holder) -> None:
    """Scenario 10."""
    mine = {"x5t#S256": x5t(agent)}
    with server.world.operator() as operator:
        task = f"/v1/tasks/{agent.answer['task']}"
        assert operator.patch(task, json={"scope": "read"}).status_code == 200
        assert server.told(INTROSPECT, **mine)["scope"] == "read"
        assert server.told(BIND, **mine, scope="write")["oauth_error"]["error"] == "invalid_scope"
        assert operator.post(f"{task}/complete").status_code == 200
    assert server.told(INTROSPECT, **mine)["reason"] == "certificate_revoked"
    assert server.told(BIND, **mine, grant_type="refresh_token")["active"] is False


def test_an_agent_that_is_suspended_has_no_token(server: Party, agent: Holder) -> None:
    name = agent.answer["spiffe_id"].rpartition("/")[2]
    with server.world.operator() as operator:
        assert operator.post(f"/v1/agents/{name}/suspend").status_code == 200
        told = server.told(BIND, **{"x5t#S256": x5t(agent)}, grant_type="client_credentials")
        assert (told["reason"], told["oauth_error"]["error"]) == ("agent_suspended", "unauthorized_client")
        assert told["terminal"] is False
        assert operator.post(f"/v1/agents/{name}/resume").status_code == 200
    assert server.told(INTROSPECT, **{"x5t#S256": x5t(agent)})["active"] is True


def test_a_childs_answer_names_who_delegated_and_ends_with_it(server: Party, agent: Holder) -> None:
    """Scenario 17."""
    _, child = agent.post("/v1/certificates/delegate", scope="read")
    assert child is not None
    _, grandchild = child.post("/v1/certificates/delegate")
    assert grandchild is not None
    told = server.told(INTROSPECT, **{"x5t#S256": x5t(grandchild)})
    parent = {"sub": child.answer["spiffe_id"], "act": {"sub": agent.answer["spiffe_id"]}}
    assert (told["act"], told["scope"]) == (parent, "read")
    name = agent.answer["spiffe_id"].rpartition("/")[2]
    with server.world.operator() as operator:
        operator.post(f"/v1/agents/{name}/suspend")
        assert server.told(INTROSPECT, **{"x5t#S256": x5t(grandchild)})["reason"] == "delegation_revoked"
        operator.post(f"/v1/agents/{name}/resume")
    assert server.world.cli("revoke", agent.answer["serial"]).returncode == 0
    assert server.told(INTROSPECT, **{"x5t#S256": x5t(grandchild)})["reason"] == "delegation_revoked"


def test_a_user_is_the_tasks_principal(server: Party, world: World) -> None:
    user = {"iss": "https://idp.example", "sub": "alice"}
    one = enrolled(world, principal=user)
    told = server.told(INTROSPECT, **{"x5t#S256": x5t(one)})
    assert told["principal"] == {"iss": "https://idp.example", "sub": "alice"}
    assert told["act"] == {"sub": one.answer["spiffe_id"]}


def test_of_another_tenant_it_knows_nothing(world: World, agent: Holder) -> None:
    elsewhere = party(world, "as-2", "--tenant", "acme", "--reasons")
    told = elsewhere.told(INTROSPECT, **{"x5t#S256": x5t(agent)})
    assert told == {"active": False, "reason": "certificate_unknown", "terminal": False}
    never = elsewhere.told(INTROSPECT, **{"x5t#S256": "A" * 43})
    assert never == told, "whether there is one is not told"
    assert elsewhere.told(BIND, **{"x5t#S256": x5t(agent)})["oauth_error"]["error"] == "invalid_client"


def test_another_authoritys_certificate_is_untrusted(server: Party) -> None:
    foreign = ssl.create_default_context().get_ca_certs(binary_form=True)[0]
    told = server.told(INTROSPECT, certificate=base64.b64encode(foreign).decode())
    assert told["reason"] == "certificate_untrusted"
    assert server.told(INTROSPECT, certificate="AAAA")["reason"] == "certificate_untrusted"
    issuer = {"issuer": "CN=Another", "serial": "01"}
    assert server.told(INTROSPECT, **issuer)["reason"] == "certificate_untrusted"


def test_an_operators_certificate_is_no_clients(server: Party, world: World) -> None:
    own = x509.load_pem_x509_certificate((world.home / "operators" / "admin" / "tls.crt").read_bytes())
    pem = own.public_bytes(Encoding.PEM).decode()
    assert server.told(INTROSPECT, certificate=pem)["reason"] == "certificate_unknown"


@pytest.mark.parametrize("path", [INTROSPECT, BIND])
def test_who_may_not_ask_hears_so(server: Party, agent: Holder, path: str) -> None:
    world, mine = server.world, {"x5t#S256": x5t(agent)}
    with world.client() as nobody:
        assert nobody.post(path, json=mine).status_code == 401
        wrong = {"Authorization": "Bearer remit_rp_wrong"}
        assert nobody.post(path, json=mine, headers=wrong).status_code == 401
    with world.client(agent.directory) as itself:
        assert itself.post(path, json=mine).status_code == 401, "an agent does not ask"
    if not (world.directory / "auditor-h").exists():
        world.json("operator", "add", "auditor-h", "--role", "auditor", "--dir", world.directory / "auditor-h")
    with world.client(world.directory / "auditor-h") as auditor:
        assert auditor.post(path, json=mine).status_code == 403
    with world.operator() as admin:
        assert admin.post(path, json=mine).json()["active"] is True


MALFORMED: dict[str, Any] = {
    "nothing": {},
    "two": {"x5t#S256": "A" * 43, "jkt": "A" * 43},
    "a serial alone": {"serial": "01"},
    "an issuer alone": {"issuer": "CN=x"},
    "no base64": {"certificate": "-"},
    "a broken PEM": {"certificate": "-----BEGIN CERTIFICATE-----"},
    "a short thumbprint": {"x5t#S256": "A"},
    "a member that is not known": {"x5t#S256": "A" * 43, "tokens": 1},
    "a time without end": {"x5t#S256": "A" * 43, "requested_exp": 10**18},
    "a key without its proof": {"x5t#S256": "A" * 43, "binding_method": "jkt"},
    "too many details": {"x5t#S256": "A" * 43, "authorization_details": [{"type": "a"}] * 65},
}


@pytest.mark.parametrize("members", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_question(server: Party, members: dict[str, Any]) -> None:
    answer = server.ask(BIND, **members)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "form", ["x=%", "jkt=a&jkt=b", "authorization_details=[", "&" * 99, "authorization_details=" + "[" * 9999]
)
def test_what_is_no_form(server: Party, form: str) -> None:
    with server.world.client() as anybody:
        headers = {"Authorization": f"Bearer {server.key}", "Content-Type": "application/x-www-form-urlencoded"}
        assert anybody.post(BIND, content=form, headers=headers).status_code == 400
        assert anybody.post(BIND, content="x", headers=headers | {"Content-Type": "text/plain"}).status_code == 415


def test_a_key_is_a_relying_partys_alone(world: World) -> None:
    done = world.cli("operator", "add", "op-k", "--role", "auditor", "--reasons", "--dir", world.directory / "op-k")
    assert done.returncode == 1
    assert "relying party" in done.stderr
