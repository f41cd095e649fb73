"""Enrolment by outside proofs, end to end: a cluster's token, a real provider's, and another CA's certificate."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from ca.proofs import jwt
from tests.ca.proofs.issuer import EC, OTHER_EC, Certified, Issuer, certified, kubernetes, signed
from tests.ca.proofs.issuer import running as serving
from tests.ca.proofs.pki import Holder, assertion, certificate
from tests.interop import openid
from tests.interop.openid import OpenId
from tests.world import World, free_port, key_and_csr


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 (as an issuer would)


@dataclass(frozen=True)
class Fleet:
    """Another CA."""

    root: Holder
    issuing: Holder

    @staticmethod
    def made() -> Fleet:
        root = certificate("CN=Fleet root", ca=True, begins=now().replace(year=2020), ends=now().replace(year=2099))
        between = certificate("CN=Fleet", root, ca=True, begins=now().replace(year=2020), ends=now().replace(year=2098))
        return Fleet(root, between)

    def holder(self, name: str) -> Holder:
        """A certificate for `spiffe://fleet.example/` and this name."""
        uri = x509.UniformResourceIdentifier(f"spiffe://fleet.example/{name}")
        return certificate(
            f"CN={name}", self.issuing, names=[uri], begins=now().replace(year=2021), ends=now().replace(year=2097)
        )


@dataclass(frozen=True)
class Proven:
    """A CA that believes a cluster and a fleet; and sockets that nobody may knock at."""

    world: World
    cluster: Issuer
    fleet: Fleet
    off: Issuer
    away: str

    def kubernetes(self, account: str, **changed: Any) -> str:
        """A projected service-account token."""
        made = {"aud": [self.world.api_url], "jti": str(uuid4()), **changed}
        return signed(kubernetes(self.cluster.url, now(), account, **made))

    def assertion(self, holder: Holder, key: ec.EllipticCurvePrivateKey, **changed: Any) -> str:
        """What a holder of the fleet's certificate says for this key."""
        bound = {"jkt": jwt.jwk_thumbprint(key.public_key())}
        made = {"aud": self.world.api_url, "jti": str(uuid4()), "cnf": bound, **changed}
        return assertion(holder, self.fleet.issuing.certificate, now=now(), **made)


def settings(directory: Path, tls: Certified, cluster: Issuer, off: Issuer, away: str) -> dict[str, str]:
    """As an operator would set them."""
    return {
        "REMIT_PROOFS__OIDC__CLUSTER__ISSUER": cluster.url,
        "REMIT_PROOFS__OIDC__CLUSTER__CLAIMS": '{"kubernetes.io.namespace": "agents"}',
        "REMIT_PROOFS__OIDC__CLUSTER__PRIVATE": '["localhost"]',
        "REMIT_PROOFS__OIDC__CLUSTER__CA_FILE": str(tls.root),
        "REMIT_PROOFS__OIDC__OFF__ISSUER": off.url,
        "REMIT_PROOFS__OIDC__OFF__ENABLED": "false",
        "REMIT_PROOFS__OIDC__OFF__PRIVATE": '["localhost"]',
        "REMIT_PROOFS__OIDC__AWAY__ISSUER": away,
        "REMIT_PROOFS__OIDC__AWAY__PRIVATE": '["localhost"]',
        "REMIT_PROOFS__X5C__FLEET__ROOTS": str(directory / "fleet.pem"),
    }


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    return certified(tmp_path_factory.mktemp("tls"), "localhost", "127.0.0.1")


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory, tls: Certified) -> Iterator[Proven]:
    directory, fleet = tmp_path_factory.mktemp("proven"), Fleet.made()
    (directory / "fleet.pem").write_bytes(fleet.root.certificate.public_bytes(Encoding.PEM))
    away = f"https://localhost:{free_port()}"
    with serving(Issuer(tls, "localhost")) as cluster, serving(Issuer(tls, "localhost")) as off:
        world = World(directory, **settings(directory, tls, cluster, off, away)).init().start()
        try:
            yield Proven(world, cluster, fleet, off, away)
        finally:
            world.stop()


def enrolled(answer: httpx2.Response, agent: str) -> None:
    """The certificate is for this agent."""
    assert answer.status_code == 201, answer.text
    assert answer.json()["spiffe_id"].endswith(f"/{agent}")


def refused(answer: httpx2.Response) -> None:
    """By the one answer."""
    assert answer.status_code == 401, answer.text
    assert answer.json()["type"].endswith("token-invalid")
    assert answer.json()["detail"].startswith("This proof of identity is not accepted: ")


def test_a_projected_token_of_kubernetes_enrols_its_agent(proven: Proven) -> None:
    world = proven.world
    subject = "system:serviceaccount:agents:planner"
    agent = world.new_agent(oidc_issuer=proven.cluster.url, oidc_subject=subject)
    token = proven.kubernetes("planner")
    enrolled(world.post_csr(token, key_and_csr()[1]), agent)
    # Kubernetes leaves a token in its file until it is old: it is shown again, by a pod that was started anew.
    enrolled(world.post_csr(token, key_and_csr()[1]), agent)
    for wrong in (
        proven.kubernetes("other"),
        proven.kubernetes("planner", aud=["https://kubernetes.default.svc"]),
        proven.kubernetes("planner", **{"kubernetes.io": {"namespace": "other"}}),
        proven.kubernetes("planner", iat=int(now().timestamp()) - 4000),
        proven.kubernetes("planner", cnf={"jkt": "A" * 43}),
        signed(jwt.read(token).claims | {}, OTHER_EC),  # type: ignore[operator]
        signed(dict(jwt.read(token).claims), EC, header={"kid": "rsa-1"}),
    ):
        refused(world.post_csr(wrong, key_and_csr()[1]))


@pytest.fixture(scope="module")
def believing(tmp_path_factory: pytest.TempPathFactory, tls: Certified) -> Iterator[tuple[World, OpenId]]:
    """A CA that believes a real provider, whose tokens open once."""
    with openid.running(tls) as provider:
        directory = tmp_path_factory.mktemp("believing")
        configuration = directory / "remit.toml"
        configuration.write_text(
            f'[proofs.oidc.house]\nissuer = "{provider.issuer}"\nalgorithms = ["ES256"]\naudience = "urn:remit:ca"\n'
            f'claims = {{ client_id = ["planner", "racer", "worker"] }}\none_time = true\nca_file = "{tls.root}"\n'
            'private = ["localhost"]\n'
        )
        world = World(directory, REMIT_CONFIG=str(configuration)).init().start()
        try:
            yield world, provider
        finally:
            world.stop()


def test_a_real_providers_token_enrols_once(believing: tuple[World, OpenId]) -> None:
    world, provider = believing
    agent = world.new_agent(oidc_issuer=provider.issuer, oidc_subject="planner")
    token, csr = provider.token("planner", "urn:remit:ca"), key_and_csr()[1]
    enrolled(world.post_csr(token, csr), agent)
    refused(world.post_csr(token, csr))
    refused(world.post_csr(token, key_and_csr()[1]))
    enrolled(world.post_csr(provider.token("planner", "urn:remit:ca"), key_and_csr()[1]), agent)


def test_of_many_that_race_with_one_token_one_is_enrolled(believing: tuple[World, OpenId]) -> None:
    """Case 12, for a proof that somebody else made."""
    world, provider = believing
    world.new_agent(id="racer", oidc_issuer=provider.issuer, oidc_subject="racer")
    token = provider.token("racer", "urn:remit:ca")
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: world.post_csr(token, key_and_csr()[1]), range(32)))
    assert sorted(answer.status_code for answer in answers) == [201] + [401] * 31


def test_a_real_providers_token_for_another_audience_or_of_another_client_does_not(
    believing: tuple[World, OpenId],
) -> None:
    world, provider = believing
    refused(world.post_csr(provider.token("planner", "urn:other"), key_and_csr()[1]))
    refused(world.post_csr(provider.token("worker", "urn:remit:ca"), key_and_csr()[1]))


def test_the_command_enrols_with_a_token_from_a_file(proven: Proven, tmp_path: Path) -> None:
    """As the README has it, and as a pod would; what was taken from the agent then proves nothing any more."""
    world, subject = proven.world, "system:serviceaccount:agents:porter"
    world.json("agent", "add", "porter", "--oidc-issuer", proven.cluster.url, "--oidc-subject", subject)
    (tmp_path / "token").write_text(proven.kubernetes("porter") + "\n")
    words = ("enroll", "--ca", world.api_url, "--root-fingerprint", world.root_fingerprint)
    words += ("--token-file", str(tmp_path / "token"), "--dir", str(tmp_path / "creds"))
    assert world.json(*words)["spiffe_id"].endswith("/porter")
    world.json("agent", "update", "porter", "--oidc-issuer", "", "--oidc-subject", "")
    assert world.json("agent", "show", "porter")["oidc_subject"] is None
    gone = world.cli(*words)
    assert (gone.returncode, "This proof of identity is not accepted" in gone.stderr) == (1, True)


def test_what_was_refused_is_not_spent(believing: tuple[World, OpenId]) -> None:
    world, provider = believing
    token, csr = provider.token("worker", "urn:remit:ca"), key_and_csr()[1]
    refused(world.post_csr(token, csr))
    agent = world.new_agent(oidc_issuer=provider.issuer, oidc_subject="worker")
    enrolled(world.post_csr(token, csr), agent)


def test_another_cas_certificate_enrols_its_holder_once(proven: Proven) -> None:
    world, holder = proven.world, proven.fleet.holder("hauler")
    agent = world.new_agent(oidc_issuer="x5c:fleet", oidc_subject="spiffe://fleet.example/hauler")
    key, csr = key_and_csr()
    shown = proven.assertion(holder, key)
    refused(world.post_csr(shown, key_and_csr()[1]))  # overheard: it is bound to the holder's new key
    enrolled(world.post_csr(shown, csr), agent)
    refused(world.post_csr(shown, csr))
    refused(world.post_csr(proven.assertion(holder, key, aud="https://other.example"), csr))
    refused(world.post_csr(proven.assertion(proven.fleet.holder("stranger"), key), csr))
    refused(world.post_csr(proven.assertion(Fleet.made().holder("hauler"), key), csr))


def test_case_35_nothing_is_sent_for_the_issuer_of_a_stranger(proven: Proven) -> None:
    """Nor for any URL in a header: who is asked stands in the configuration alone."""
    world, asked = proven.world, len(proven.cluster.asked)
    with (
        socket.create_server(("127.0.0.1", 0)) as trap,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
    ):
        port, port6 = trap.getsockname()[1], six.getsockname()[1]
        issuers = [
            f"https://127.0.0.1:{port}",
            f"https://localhost@127.0.0.1:{port}",
            f"{proven.cluster.url}@127.0.0.1:{port}",
            f"{proven.cluster.url}.127.0.0.1:{port}",
            f"https://localhost.evil.example:{port}",
            f"https://127.1:{port}",
            f"https://2130706433:{port}",
            f"https://[::ffff:127.0.0.1]:{port}",
            f"https://[::1]:{port6}",
            f"http://localhost:{port}",
            "https://169.254.169.254/latest/meta-data",
            proven.cluster.url + "/",
            proven.cluster.url.replace("localhost", "LOCALHOST"),
        ]
        made = kubernetes(proven.cluster.url, now(), aud=[world.api_url])
        tokens = [signed({**made, "iss": one}) for one in issuers]
        tokens += [signed(made, header={name: f"https://127.0.0.1:{port}/jwks"}) for name in ("jku", "x5u")]
        for token in tokens:
            refused(world.post_csr(token, key_and_csr()[1]))
        assert not knocked_at(trap)
        assert not knocked_at(six)
    assert len(proven.cluster.asked) == asked


def knocked_at(listening: socket.socket) -> bool:
    listening.setblocking(False)
    try:
        listening.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def test_a_provider_that_is_switched_off_is_asked_nothing(proven: Proven) -> None:
    made = kubernetes(proven.off.url, now(), aud=[proven.world.api_url])
    refused(proven.world.post_csr(signed(made), key_and_csr()[1]))
    assert proven.off.connections == 0


def test_an_issuer_that_is_away_is_tried_again_later(proven: Proven) -> None:
    made = kubernetes(proven.away, now(), aud=[proven.world.api_url])
    answer = proven.world.post_csr(signed(made), key_and_csr()[1])
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0


def test_the_doctor_says_whose_keys_can_be_had(proven: Proven) -> None:
    done = proven.world.cli("doctor", "--json")
    found = {one["part"]: one for one in json.loads(done.stdout)}
    assert done.returncode == 1
    assert found["proof cluster"]["verdict"] == "ok"
    assert "publishes 2 keys" in found["proof cluster"]["sentence"]
    assert found["proof fleet"]["verdict"] == "ok"
    assert found["proof away"]["verdict"] == "wrong"
    assert "cannot be fetched" in found["proof away"]["sentence"]
    assert "proof off" not in found
