"""Cases 10, 19 and 31 through the API: compromised keys, and keys that are never certified."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from ca.pki.keys import PublicKey
from ca.refusals import Reason
from ca.web.problems import STATUS, TYPE
from tests.ca.pki import weak
from tests.ca.pki.known import listed
from tests.world import World, key_and_csr

DEBIANS = rsa.generate_private_key(65537, 2048)
DOCUMENTED = ec.generate_private_key(ec.SECP256R1())


def csr_of(key: object) -> bytes:
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM)  # type: ignore[arg-type]


def digest(key: PublicKey) -> str:
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def refused(answer: httpx2.Response, reason: Reason) -> bool:
    return (answer.status_code, answer.json()["type"]) == (STATUS[reason], TYPE + reason.value)


@pytest.fixture
def admin(world: World) -> Iterator[httpx2.Client]:
    with world.operator() as client:
        yield client


def enrolled(world: World, agent: str, csr: bytes) -> str:
    answer = world.post_csr(world.token(agent), csr)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["serial"])


def state(admin: httpx2.Client, serial: str) -> tuple[str, str | None]:
    shown = admin.get(f"/v1/certificates/{serial}").json()
    return shown["state"], shown["reason"]


def test_a_key_is_revoked_once_and_never_certified_again(world: World, admin: httpx2.Client) -> None:
    key, csr = key_and_csr()
    agent = world.new_agent()
    serials = [enrolled(world, agent, csr) for _ in range(2)]
    other = enrolled(world, agent, key_and_csr()[1])
    body = {"key": digest(key.public_key())}
    dry = admin.post("/v1/revocations", json={**body, "dry_run": True}).json()
    assert {state(admin, serial) for serial in serials} == {("live", None)}
    done = admin.post("/v1/revocations", json=body).json()
    assert done == {**dry, "dry_run": False}
    assert (done["serials"], done["blocked_keys"], done["reason"]) == (serials, [body["key"]], "keyCompromise")
    shown = [admin.get(f"/v1/certificates/{serial}").json() for serial in serials]
    assert {state(admin, serial) for serial in serials} == {("revoked", "keyCompromise")}
    assert state(admin, other) == ("live", None)
    assert refused(world.post_csr(world.token(agent), csr), Reason.KEY_REFUSED)
    assert refused(world.post_csr(world.token(world.new_agent()), csr), Reason.KEY_REFUSED)
    again = admin.post("/v1/revocations", json=body).json()
    assert (again["count"], again["blocked_keys"]) == (0, [])
    assert [admin.get(f"/v1/certificates/{serial}").json() for serial in serials] == shown, "no date changed"


def test_whoever_holds_the_key_revokes_all_that_is_certified_for_it(world: World) -> None:
    """The handshake is the proof of possession: an agent says that its own key is compromised."""
    held = world.enrol()
    csr = csr_of(load_pem_private_key(held.key.read_bytes(), None))
    second = enrolled(world, held.agent, csr)
    with world.client(held.dir) as agent, world.operator() as admin:
        answer = agent.post(f"/v1/certificates/{held.serial}/revoke", json={"reason": "keyCompromise"})
        assert answer.json()["state"] == "revoked"
        assert state(admin, second) == ("revoked", "keyCompromise")
    assert refused(world.post_csr(world.token(held.agent), csr), Reason.KEY_REFUSED)


def test_for_another_reason_a_key_is_revoked_and_not_blocked(world: World, admin: httpx2.Client) -> None:
    key, csr = key_and_csr()
    agent = world.new_agent()
    serial = enrolled(world, agent, csr)
    body = {"key": digest(key.public_key()), "reason": "superseded"}
    answer = admin.post("/v1/revocations", json=body).json()
    assert (answer["serials"], answer["blocked_keys"]) == ([serial], [])
    assert enrolled(world, agent, csr)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"key": ""},
        {"key": "ab"},
        {"key": "zz" * 32},
        {"key": "ab" * 33},
        {"key": "ab" * 32, "agent": "a"},
        {"key": "ab" * 32, "task": "a"},
        {"key": "ab" * 32, "tenant": "default"},
        {"key": ["ab" * 32]},
    ],
    ids=str,
)
def test_a_key_is_its_digest_and_nothing_beside_it(admin: httpx2.Client, body: dict[str, object]) -> None:
    assert refused(admin.post("/v1/revocations", json=body), Reason.MALFORMED)


@pytest.mark.parametrize("reason", ["cACompromise", "removeFromCRL", "certificateHold", "odd", ""])
def test_an_odd_reason_blocks_nothing(world: World, admin: httpx2.Client, reason: str) -> None:
    key, csr = key_and_csr()
    answer = admin.post("/v1/revocations", json={"key": digest(key.public_key()), "reason": reason})
    assert refused(answer, Reason.REASON_REFUSED)
    assert enrolled(world, world.new_agent(), csr)


def test_the_authoritys_own_keys_are_neither_certified_nor_blocked(world: World, admin: httpx2.Client) -> None:
    """No request for them can be signed here, so the refusal to block stands for both (see `test_enrol`)."""
    chain = x509.load_pem_x509_certificates(admin.get("/ca/chain.pem").content)
    assert chain
    for ca in chain:
        body = {"key": digest(ca.public_key())}  # type: ignore[arg-type] # P-256, as the ceremony made it
        assert refused(admin.post("/v1/revocations", json=body), Reason.CONFLICT)


@pytest.fixture(scope="module")
def with_rsa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An authority whose policy takes RSA, with a list of known keys."""
    directory = tmp_path_factory.mktemp("rsa")
    (directory / "list").write_bytes(listed(DEBIANS.public_key(), DOCUMENTED.public_key(), others=[b"x", b"y"]))
    made = World(directory, REMIT_CERTIFICATES__RSA="true", REMIT_CERTIFICATES__KNOWN_KEYS=str(directory / "list"))
    yield made.init().start()
    made.stop()


REFUSED_KEYS = {
    "RSA 1024": rsa.generate_private_key(65537, 1024),
    "RSA 2056": rsa.generate_private_key(65537, 2056),
    "exponent 3": rsa.generate_private_key(3, 2048),
    "close primes": weak.close(),
    "ROCA": weak.roca(),
    "RSA on the list": DEBIANS,
    "P-256 on the list": DOCUMENTED,
    "P-224": ec.generate_private_key(ec.SECP224R1()),
    "secp256k1": ec.generate_private_key(ec.SECP256K1()),
    "Ed448": ed448.Ed448PrivateKey.generate(),
}
SOUND_KEYS = {
    "P-256": ec.generate_private_key(ec.SECP256R1()),
    "P-384": ec.generate_private_key(ec.SECP384R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
    "RSA 2048": rsa.generate_private_key(65537, 2048),
    "RSA 3072": rsa.generate_private_key(65537, 3072),
    "RSA 4096": rsa.generate_private_key(65537, 4096),
}


@pytest.mark.parametrize("key", REFUSED_KEYS.values(), ids=REFUSED_KEYS.keys())
def test_a_weak_key_is_refused_and_the_token_stays(with_rsa: World, key: object) -> None:
    token = with_rsa.token(with_rsa.new_agent())
    assert refused(with_rsa.post_csr(token, csr_of(key)), Reason.KEY_REFUSED)
    assert with_rsa.post_csr(token, key_and_csr()[1]).status_code == 201


@pytest.mark.parametrize("key", SOUND_KEYS.values(), ids=SOUND_KEYS.keys())
def test_a_sound_key_is_certified(with_rsa: World, key: object) -> None:
    assert with_rsa.post_csr(with_rsa.token(with_rsa.new_agent()), csr_of(key)).status_code == 201


@pytest.mark.parametrize("bits", [2048, 4096])
def test_rsa_is_refused_where_policy_does_not_take_it(world: World, bits: int) -> None:
    answer = world.post_csr(world.token(world.new_agent()), csr_of(SOUND_KEYS[f"RSA {bits}"]))
    assert refused(answer, Reason.KEY_REFUSED)


def test_rsa_without_a_list_does_not_start(tmp_path: Path) -> None:
    done = World(tmp_path, REMIT_CERTIFICATES__RSA="true").cli("init")
    assert done.returncode == 1
    assert "certificates.known_keys" in done.stderr
    assert not (tmp_path / "home").exists()
