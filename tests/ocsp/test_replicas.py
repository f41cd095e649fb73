"""Case 13 on several replicas: two of the CA and two status services over one PostgreSQL; and one that dies."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tests.postgres import Cluster
from tests.world import World, key_and_csr

pytestmark = pytest.mark.slow

OCSP_SECONDS, CRL_SECONDS = 1.0, 5.0
SERVICES = 2


@pytest.fixture
def world(tmp_path: Path, postgres: Cluster) -> Iterator[World]:
    """Two workers of the CA: who is asked to revoke need not be who publishes."""
    made = World(tmp_path, REMIT_DATABASE_URL=postgres.new_database(), REMIT_WORKERS="2").init().start()
    yield made
    made.stop()


def issued(world: World) -> tuple[x509.Certificate, bytes]:
    """A new agent's certificate, and the question about it."""
    answer = world.post_csr(world.token(world.new_agent()), key_and_csr()[1])
    leaf, issuer = x509.load_pem_x509_certificates(answer.json()["chain"].encode())
    asked = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA256()).build()
    return leaf, asked.public_bytes(Encoding.DER)


def revoke(world: World, leaf: x509.Certificate) -> None:
    with world.operator() as operator:
        answer = operator.post(f"/v1/certificates/{leaf.serial_number:038x}/revoke", json={"reason": "superseded"})
        assert answer.status_code == 200, answer.text


def status(url: str, question: bytes) -> ocsp.OCSPCertStatus:
    headers = {"Content-Type": "application/ocsp-request"}
    with httpx2.Client(trust_env=False) as anyone:
        return ocsp.load_der_ocsp_response(
            anyone.post(f"{url}/ocsp", content=question, headers=headers).content
        ).certificate_status


def listed(url: str, leaf: x509.Certificate) -> bool:
    with httpx2.Client(trust_env=False) as anyone:
        der = anyone.get(f"{url}/crl/issuing-1.crl").content
    return x509.load_der_x509_crl(der).get_revoked_certificate_by_serial_number(leaf.serial_number) is not None


def test_every_replica_knows_within_a_second_and_lists_it_within_five(world: World) -> None:
    with ExitStack() as stack:
        urls = [world.status_url, *(stack.enter_context(world.another_status_service()) for _ in range(SERVICES - 1))]
        for _ in range(6):  # each call is dealt to one of the CA's workers
            leaf, question = issued(world)
            assert {status(url, question) for url in urls} == {ocsp.OCSPCertStatus.GOOD}
            revoke(world, leaf)
            told = time.monotonic()
            while {status(url, question) for url in urls} != {ocsp.OCSPCertStatus.REVOKED}:
                assert time.monotonic() < told + OCSP_SECONDS, "a replica goes on saying good"
            while not all(listed(url, leaf) for url in urls):
                assert time.monotonic() < told + CRL_SECONDS, "a replica's list lacks it"
                time.sleep(0.05)


def test_it_outlives_whoever_said_so(world: World) -> None:
    leaf, question = issued(world)
    revoke(world, leaf)
    world.stop(signal.SIGKILL)
    with world.another_status_service() as url:
        deadline = time.monotonic() + OCSP_SECONDS
        while status(url, question) is not ocsp.OCSPCertStatus.REVOKED:
            assert time.monotonic() < deadline
    world.start()
    deadline = time.monotonic() + CRL_SECONDS
    while not listed(world.status_url, leaf):
        assert time.monotonic() < deadline, "who starts anew publishes what was revoked before"
        time.sleep(0.05)
