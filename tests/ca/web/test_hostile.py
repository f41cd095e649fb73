"""The API under bad input: a problem with a stable type and one sentence, nothing signed, no trace, still alive."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from ca.refusals import Reason
from ca.store.operators import Role
from ca.web.callers import PERMISSIONS, Act
from ca.web.problems import STATUS, TYPE
from tests.world import World, key_and_csr

ROUTES = {
    ("GET", "/v1/certificates"): Act.READ,
    ("GET", "/v1/certificates/01"): Act.READ,
    ("POST", "/v1/revocations"): Act.REVOKE,
    ("POST", "/v1/certificates/01/revoke"): Act.REVOKE,
    ("POST", "/v1/certificates/01/hold"): Act.REVOKE,
    ("POST", "/v1/certificates/01/release"): Act.REVOKE,
    ("GET", "/v1/revocations/proposals"): Act.READ,
    ("POST", "/v1/revocations/proposals/none/confirm"): Act.REVOKE,
    ("GET", "/v1/agents"): Act.READ,
    ("GET", "/v1/agents/nobody"): Act.READ,
    ("POST", "/v1/agents"): Act.REGISTER,
    ("PATCH", "/v1/agents/nobody"): Act.REGISTER,
    ("POST", "/v1/agents/nobody/suspend"): Act.REGISTER,
    ("POST", "/v1/agents/nobody/resume"): Act.REGISTER,
    ("GET", "/v1/tasks"): Act.READ,
    ("GET", "/v1/tasks/nothing"): Act.READ,
    ("POST", "/v1/tasks"): Act.REGISTER,
    ("PATCH", "/v1/tasks/nothing"): Act.REGISTER,
    ("POST", "/v1/tasks/nothing/complete"): Act.REGISTER,
    ("POST", "/v1/tasks/nothing/cancel"): Act.REGISTER,
    ("POST", "/v1/enrollment-tokens"): Act.ADMIT,
    ("GET", "/v1/operators"): Act.READ,
    ("POST", "/v1/operators"): Act.MANAGE,
    ("GET", "/v1/crls"): Act.READ,
    ("POST", "/v1/crls/publish"): Act.PUBLISH,
    ("POST", "/v1/as/introspect"): Act.ASK,
    ("POST", "/v1/as/bind"): Act.ASK,
}
BODIES = {
    "/v1/revocations": {"agent": "nobody", "dry_run": True},
    "/v1/certificates/01/revoke": {"reason": "superseded"},
    "/v1/agents": {"id": "UPPER"},
    "/v1/agents/nobody": {"scope": "a"},
    "/v1/tasks": {"agent": "nobody"},
    "/v1/tasks/nothing": {"scope": "a"},
    "/v1/enrollment-tokens": {"agent": "nobody"},
    "/v1/as/introspect": {"x5t#S256": "A" * 43},
    "/v1/as/bind": {"x5t#S256": "A" * 43},
    "/v1/operators": {"name": "UPPER", "role": "auditor", "csr": "x"},
}
HOSTILE_NAMES = (
    *(
        "",
        "-a",
        ".",
        "..",
        "a/b",
        "a%2fb",
        "A",
        "a b",
        " a",
        "a ",
        "a\0",
        "a\u202eb",
        "*",
        "a*",
        "ä",
        "\u0430",
        "a" * 64,
    ),
    *("a\n", "a;b", "a'--", "{a}", "spiffe://x"),
)


@pytest.fixture(scope="module")
def credentials(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[Role, Path]:
    """A credential for each role."""
    folder = tmp_path_factory.mktemp("roles")
    for role in Role:
        world.json("operator", "add", f"{role.value}-of-web", "--role", role.value, "--dir", folder / role.value)
    return {role: folder / role.value for role in Role}


@pytest.fixture
def admin(world: World) -> Iterator[httpx2.Client]:
    """The API as the admin."""
    with world.operator() as client:
        yield client


def assert_problem(answer: httpx2.Response, reason: Reason) -> None:
    """RFC 9457, with the reason's type and status, one sentence, and nothing of the inside."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem = answer.json()
    assert problem["type"] == TYPE + reason.value, answer.text
    assert answer.status_code == problem["status"] == STATUS[reason]
    assert problem["detail"]
    assert "Traceback" not in answer.text
    assert "sqlalchemy" not in answer.text


def test_every_reason_has_a_status() -> None:
    assert STATUS.keys() == set(Reason)


def test_every_route_is_in_the_table_of_permissions(world: World) -> None:
    with world.client() as stranger:
        paths = stranger.get("/openapi.json").json()["paths"]
    documented = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    public = {(method, path) for method, path in documented if not path.startswith("/v1/")}
    assert len(documented - public) == len(ROUTES) + 4, "all but agents' certificates and proofs"
    assert ("POST", "/v1/revocations/proven") in documented


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=lambda part: part)
def test_a_stranger_is_refused_everywhere_alike(world: World, method: str, path: str) -> None:
    with world.client() as stranger:
        assert_problem(stranger.request(method, path, json=BODIES.get(path)), Reason.UNAUTHENTICATED)


@pytest.mark.parametrize("role", Role)
def test_each_role_may_do_what_the_table_says(world: World, credentials: dict[Role, Path], role: Role) -> None:
    with world.client(credentials[role]) as operator:
        for (method, path), act in ROUTES.items():
            answer = operator.request(method, path, json=BODIES.get(path))
            refused = answer.status_code == 403
            assert refused == (act not in PERMISSIONS[role]), f"{role} {method} {path}: {answer.text}"
            if refused:
                assert_problem(answer, Reason.FORBIDDEN)


def test_a_revoked_operator_is_a_stranger_at_the_next_request(world: World, tmp_path: Path) -> None:
    made = world.json("operator", "add", "gone", "--role", "admin", "--dir", tmp_path / "gone")
    with world.client(tmp_path / "gone") as gone:
        assert gone.get("/v1/agents").status_code == 200
        world.json("revoke", made["serial"], "--reason", "privilegeWithdrawn")
        assert_problem(gone.get("/v1/agents"), Reason.UNAUTHENTICATED)


def test_an_agent_may_revoke_its_own_and_learns_nothing_of_others(world: World) -> None:
    own, other = world.enrol(), world.enrol()
    with world.client(own.dir) as agent:
        for serial in (other.serial, "01" * 19):
            assert_problem(agent.post(f"/v1/certificates/{serial}/revoke", json={}), Reason.NOT_FOUND)
        assert_problem(agent.get("/v1/certificates"), Reason.FORBIDDEN)
        assert agent.post(f"/v1/certificates/{own.serial}/revoke", json={}).json()["state"] == "revoked"
        assert_problem(agent.post(f"/v1/certificates/{own.serial}/revoke", json={}), Reason.UNAUTHENTICATED)


def test_an_agent_completes_its_own_task_and_no_other(world: World) -> None:
    agent = world.new_agent(scope="a")
    task, foreign = world.new_task(agent, scope="a"), world.new_task(world.new_agent())
    token = world.token(agent, task=task)
    directory = world.directory / "agents" / agent
    (world.directory / "t").write_text(token)
    world.json(
        *("enroll", "--ca", world.api_url, "--root-fingerprint", world.root_fingerprint),
        *("--token-file", world.directory / "t", "--dir", directory),
    )
    with world.client(directory) as me:
        assert_problem(me.post(f"/v1/tasks/{foreign}/complete"), Reason.NOT_FOUND)
        assert me.post(f"/v1/tasks/{task}/complete").json()["status"] == "completed"


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=repr)
def test_a_hostile_name_is_refused_in_every_place(admin: httpx2.Client, name: str) -> None:
    for path, body in (
        ("/v1/agents", {"id": name}),
        ("/v1/agents", {"id": "fine", "tenant": name or "/"}),
        ("/v1/tasks", {"agent": name}),
        ("/v1/enrollment-tokens", {"agent": name}),
        ("/v1/enrollment-tokens", {"agent": "fine", "task": name}),
        ("/v1/revocations", {"agent": name}),
    ):
        assert_problem(admin.post(path, json=body), Reason.MALFORMED)


@pytest.mark.parametrize("reason", ["cACompromise", "removeFromCRL", "certificateHold", "aACompromise", "7", "", "odd"])
def test_only_reasons_for_an_end_entity_revoke(world: World, admin: httpx2.Client, reason: str) -> None:
    serial = world.post_csr(world.token(world.new_agent()), key_and_csr()[1]).json()["serial"]
    answer = admin.post(f"/v1/certificates/{serial}/revoke", json={"reason": reason})
    assert_problem(answer, Reason.REASON_REFUSED)
    assert admin.get(f"/v1/certificates/{serial}").json()["state"] == "live"


def test_revoking_twice_keeps_the_first_date_and_reason(world: World, admin: httpx2.Client) -> None:
    serial = world.post_csr(world.token(world.new_agent()), key_and_csr()[1]).json()["serial"]
    first = admin.post(f"/v1/certificates/{serial}/revoke", json={"reason": "keyCompromise"}).json()
    second = admin.post(f"/v1/certificates/{serial}/revoke", json={"reason": "superseded"}).json()
    assert first == second
    assert second["reason"] == "keyCompromise"


def test_the_authority_s_own_certificates_are_not_revoked_by_a_call(admin: httpx2.Client) -> None:
    own = admin.get("/v1/certificates", params={"limit": 1000}).json()["items"]
    kinds = {"root", "issuing", "responder"}
    for item in own:
        if item["kind"] in kinds:
            answer = admin.post(f"/v1/certificates/{item['serial']}/revoke", json={})
            assert_problem(answer, Reason.NOT_FOUND)
            kinds.discard(item["kind"])


BOMBS = {
    "deep nesting": b"\x30\x80" * 2000,
    "definite nesting": b"\x30\x82\x0f\xff" * 1000,
    "200 KB OID in 8 KB": b"\x30\x82\x1f\x00\x06\x82\x1e\xf0" + b"\x81" * 7900,
    "indefinite": b"\x30\x80\x00\x00",
    "empty": b"",
    "text": b"hello",
    "giant PEM": b"-----BEGIN CERTIFICATE REQUEST-----\n" + b"A" * 7000 + b"\n-----END CERTIFICATE REQUEST-----",
    "not base64": b"-----BEGIN CERTIFICATE REQUEST-----\n!!!!\n-----END CERTIFICATE REQUEST-----",
    "trailing": b"",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_a_malformed_csr(world: World, name: str) -> None:
    agent = world.new_agent()
    token = world.token(agent)
    der = x509.load_pem_x509_csr(key_and_csr()[1]).public_bytes(Encoding.DER)
    raw = der + b"\0" if name == "trailing" else BOMBS[name]
    with world.client() as client:
        for media, content in (
            ("application/pkcs10", raw),
            ("application/json", json.dumps({"csr": b64encode(raw).decode()}).encode()),
        ):
            headers = {"Authorization": f"Bearer {token}", "Content-Type": media}
            assert_problem(client.post("/v1/certificates", content=content, headers=headers), Reason.CSR_MALFORMED)
        assert client.get("/healthz").status_code == 200
    assert world.post_csr(token, key_and_csr()[1]).status_code == 201, "the token is still whole"


def test_what_is_too_large_is_413_declared_or_not(world: World) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(70):
            yield b"x" * 1024

    headers = {"Authorization": "Bearer remit_et_" + "x" * 43, "Content-Type": "application/pkcs10"}
    with world.client() as client:
        declared = client.post("/v1/certificates", content=b"x" * 70_000, headers=headers)
        streamed = client.post("/v1/certificates", content=chunks(), headers=headers)
        csr = client.post("/v1/certificates", content=b"\x30" * 9000, headers=headers)
    for answer in (declared, streamed, csr):
        assert_problem(answer, Reason.TOO_LARGE)


@pytest.mark.parametrize("media", ["text/plain", "application/xml", "application/pkcs7-mime", ""])
def test_an_unknown_media_type_is_415(world: World, media: str) -> None:
    headers = {"Authorization": "Bearer remit_et_" + "x" * 43, "Content-Type": media}
    with world.client() as client:
        answer = client.post("/v1/certificates", content=b"x", headers=headers)
    assert_problem(answer, Reason.UNSUPPORTED_MEDIA_TYPE)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"csr": 1}', b'{"csr": "x", "profile": "ca"}', b'{"csr": "\xff"}', b"[" * 60_000],
)
def test_a_malformed_body_is_refused_and_unknown_members_named(world: World, body: bytes) -> None:
    headers = {"Authorization": "Bearer remit_et_" + "x" * 43, "Content-Type": "application/json"}
    with world.client() as client, world.operator() as admin:
        assert_problem(client.post("/v1/certificates", content=body, headers=headers), Reason.MALFORMED)
        answer = admin.post("/v1/agents", content=body, headers={"Content-Type": "application/json"})
        assert_problem(answer, Reason.MALFORMED)


def test_authorization_details_too_deep_or_untyped_are_refused(world: World, admin: httpx2.Client) -> None:
    agent = world.new_agent()
    deep = b'{"type": "t", "a": ' + b"[" * 900 + b"]" * 900 + b"}"
    for details in (deep, b'{"actions": ["x"]}', b'{"type": ""}', b'{"type": "t", "n": 1e999}'):
        body = b'{"agent": "' + agent.encode() + b'", "authorization_details": [' + details + b"]}"
        answer = admin.post("/v1/tasks", content=body, headers={"Content-Type": "application/json"})
        assert_problem(answer, Reason.MALFORMED)


def _jwt(header: dict[str, object]) -> str:
    parts = (header, {"iss": "https://evil.example", "sub": "agent", "aud": "remit"})
    encoded = [urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, "AAAA"])


@pytest.mark.parametrize(
    "credential",
    [
        "Bearer",
        "Basic YWRtaW46YWRtaW4=",
        "Bearer remit_et_short",
        "Bearer remit_et_" + "x" * 43,
        "Bearer remit_et_" + "x" * 44,
        "Bearer ' OR 1=1 --",
        "Bearer " + _jwt({"alg": "none"}),
        "Bearer " + _jwt({"alg": "HS256", "kid": "../../dev/null"}),
        "Bearer " + _jwt({"alg": "RS256", "jku": "http://169.254.169.254/"}),
    ],
)
def test_a_credential_of_no_known_kind_is_401(world: World, credential: str) -> None:
    with world.client() as client:
        headers = {"Authorization": credential}
        answer = client.post("/v1/certificates", json={"csr": key_and_csr()[1].decode()}, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["type"] in {TYPE + Reason.TOKEN_INVALID.value, TYPE + Reason.UNAUTHENTICATED.value}
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_csr_that_asks_for_more_is_refused_or_ignored_never_obeyed(world: World) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    base = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    foreign = x509.SubjectAlternativeName(
        [x509.UniformResourceIdentifier("spiffe://agents.example/agent/default/other")]
    )
    for extension, reason in (
        (x509.BasicConstraints(ca=True, path_length=None), Reason.CSR_EXTENSION),
        (foreign, Reason.CSR_IDENTITY),
        (x509.SubjectAlternativeName([x509.DNSName("ca.example")]), Reason.CSR_IDENTITY),
    ):
        csr = base.add_extension(extension, critical=True).sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
        assert_problem(world.post_csr(world.token(world.new_agent()), csr), reason)
    _, named = key_and_csr("CN=other,OU=default,O=Remit")
    assert_problem(world.post_csr(world.token(world.new_agent()), named), Reason.CSR_IDENTITY)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v2/certificates",
        "/v1",
        "/v1/certificate",
        "/v1/certificates/",
        "/v1/certificates/01/unrevoke",
        "/console",
    ],
)
def test_an_unknown_path_is_404_with_a_problem(admin: httpx2.Client, path: str) -> None:
    assert_problem(admin.get(path), Reason.NOT_FOUND)
    assert_problem(admin.post(path, json={}), Reason.NOT_FOUND)


def test_an_unknown_method_is_405_with_a_problem(admin: httpx2.Client) -> None:
    assert_problem(admin.delete("/v1/agents"), Reason.METHOD_NOT_ALLOWED)


def test_no_secret_is_in_the_log_or_the_database(world: World) -> None:
    token = world.token(world.new_agent())
    answer = world.post_csr(token, key_and_csr()[1])
    assert answer.status_code == 201
    pin = (world.home / "pin").read_text().strip()
    files = [world.directory / "service.log", *world.home.glob("remit.db*")]
    for file in files:
        contents = file.read_bytes()
        assert token.encode() not in contents
        assert pin.encode() not in contents
