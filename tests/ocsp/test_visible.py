"""What the running status service says: never good for what was not issued, and a revocation within a second."""

from __future__ import annotations

import subprocess
import time
import urllib.error
import urllib.request
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tests.world import World, key_and_csr

OCSP_SECONDS = 1.0
CRL_SECONDS = 5.0
HASHES = (hashes.SHA1(), hashes.SHA256())


def issued(world: World) -> tuple[x509.Certificate, x509.Certificate]:
    """A new agent's certificate and its issuer's."""
    answer = world.post_csr(world.token(world.new_agent()), key_and_csr()[1])
    leaf, issuer = x509.load_pem_x509_certificates(answer.json()["chain"].encode())
    return leaf, issuer


def request(leaf: x509.Certificate, issuer: x509.Certificate, algorithm: hashes.HashAlgorithm) -> bytes:
    """A request without a nonce."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, algorithm)
    return builder.build().public_bytes(Encoding.DER)


def posted(world: World, der: bytes) -> ocsp.OCSPResponse:
    """The answer by POST."""
    call = urllib.request.Request(
        f"{world.status_url}/ocsp", data=der, headers={"Content-Type": "application/ocsp-request"}
    )
    with urllib.request.urlopen(call, timeout=10) as answer:
        return ocsp.load_der_ocsp_response(answer.read())


def fetched(world: World, path: str) -> bytes:
    """The bytes at a path of the status service."""
    with urllib.request.urlopen(world.status_url + path, timeout=10) as answer:
        return bytes(answer.read())


def own_list(world: World, leaf: x509.Certificate) -> str:
    """The path of the list that the certificate names (RFC 5280 4.2.1.13)."""
    [point] = leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    [name] = point.full_name or ()
    return str(name.value).removeprefix(world.status_url)


def revoke(world: World, leaf: x509.Certificate) -> None:
    """Revokes by serial, as an operator."""
    with world.operator() as operator:
        answer = operator.post(f"/v1/certificates/{leaf.serial_number:038x}/revoke", json={"reason": "keyCompromise"})
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("algorithm", HASHES, ids=lambda each: each.name)
def test_a_revocation_is_in_the_next_second_s_answers(world: World, algorithm: hashes.HashAlgorithm) -> None:
    leaf, issuer = issued(world)
    der = request(leaf, issuer, algorithm)
    before = posted(world, der)
    assert before.certificate_status is ocsp.OCSPCertStatus.GOOD
    revoke(world, leaf)
    deadline = time.monotonic() + OCSP_SECONDS
    while (answer := posted(world, der)).certificate_status is not ocsp.OCSPCertStatus.REVOKED:
        assert time.monotonic() < deadline, "OCSP still says good a second after the revocation was answered"
        time.sleep(0.02)
    assert answer.revocation_reason is x509.ReasonFlags.key_compromise


def test_a_revocation_is_in_every_list_in_five_seconds(world: World) -> None:
    leaf, _issuer = issued(world)
    revoke(world, leaf)
    deadline = time.monotonic() + CRL_SECONDS
    for path in ("/crl/issuing-1.crl", own_list(world, leaf)):
        while not _lists(fetched(world, path), leaf):
            assert time.monotonic() < deadline, f"{path} does not list the certificate"
            time.sleep(0.05)


def test_the_number_of_a_list_only_grows(world: World) -> None:
    numbers = []
    for _ in range(3):
        leaf, _issuer = issued(world)
        revoke(world, leaf)
        deadline = time.monotonic() + CRL_SECONDS
        while not _lists(der := fetched(world, "/crl/issuing-1.crl"), leaf):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        number = x509.load_der_x509_crl(der).extensions.get_extension_for_class(x509.CRLNumber)
        numbers.append(number.value.crl_number)
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("algorithm", HASHES, ids=lambda each: each.name)
def test_never_good_for_a_serial_that_was_not_issued(world: World, algorithm: hashes.HashAlgorithm) -> None:
    _leaf, issuer = issued(world)
    name, key = (_hashed(algorithm, part) for part in _parts(issuer))
    for serial in (1, 12345, 2**150 + 7):
        builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(name, key, serial, algorithm)
        answer = posted(world, builder.build().public_bytes(Encoding.DER))
        assert answer.certificate_status is ocsp.OCSPCertStatus.UNKNOWN


def test_another_issuer_s_certid_is_unauthorized(world: World) -> None:
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(b"n" * 20, b"k" * 20, 5, hashes.SHA1())
    answer = posted(world, builder.build().public_bytes(Encoding.DER))
    assert answer.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED


@pytest.mark.parametrize(
    "spelling",
    [
        lambda der: quote(b64encode(der), safe=""),
        lambda der: b64encode(der).decode(),
        lambda der: b64encode(der).decode().rstrip("="),
        lambda der: urlsafe_b64encode(der).decode(),
        lambda der: urlsafe_b64encode(der).decode().rstrip("="),
        lambda der: "/" + quote(b64encode(der), safe=""),
    ],
    ids=["escaped", "bare", "unpadded", "urlsafe", "urlsafe unpadded", "double slash"],
)
def test_get_answers_as_post_does_however_it_is_spelled(world: World, spelling: object) -> None:
    leaf, issuer = issued(world)
    der = request(leaf, issuer, hashes.SHA1())
    answer = ocsp.load_der_ocsp_response(fetched(world, "/ocsp/" + spelling(der)))  # type: ignore[operator] # a lambda
    assert answer.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert answer.serial_number == leaf.serial_number


@pytest.mark.parametrize("body", [b"", b"\x30", b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"A" * 4096, b"\0" * 100])
def test_hostile_bytes_get_malformed_request_and_the_service_lives(world: World, body: bytes) -> None:
    try:
        answer = posted(world, body)
    except urllib.error.HTTPError as refused:
        assert 400 <= refused.code < 500
    else:
        assert answer.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST
    assert fetched(world, "/ca/issuing-1.cer") != b""


def test_an_answer_is_signed_by_the_delegated_responder_and_has_an_end(world: World) -> None:
    leaf, issuer = issued(world)
    answer = posted(world, request(leaf, issuer, hashes.SHA256()))
    [responder] = answer.certificates
    responder.verify_directly_issued_by(issuer)
    assert responder.extensions.get_extension_for_class(x509.OCSPNoCheck)
    usage = responder.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.oid.ExtendedKeyUsageOID.OCSP_SIGNING]
    assert answer.next_update_utc is not None
    assert 0 < (answer.next_update_utc - answer.this_update_utc).total_seconds() <= 60


def test_with_the_bundle_openssl_checks_every_level(world: World, tmp_path: Path) -> None:
    leaf, issuer = issued(world)
    root = x509.load_der_x509_certificate(fetched(world, "/ca/root-1.cer"))
    for name, octets in {
        "leaf": leaf.public_bytes(Encoding.PEM),
        "issuer": issuer.public_bytes(Encoding.PEM),
        "root": root.public_bytes(Encoding.PEM),
        "lists": fetched(world, "/crl/bundle.pem"),
    }.items():
        (tmp_path / name).write_bytes(octets)
    command = "openssl verify -crl_check_all -CAfile root -CRLfile lists -untrusted issuer leaf"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)


def _lists(crl: bytes, leaf: x509.Certificate) -> bool:
    return x509.load_der_x509_crl(crl).get_revoked_certificate_by_serial_number(leaf.serial_number) is not None


def _parts(issuer: x509.Certificate) -> tuple[bytes, bytes]:
    point = issuer.public_key().public_bytes(Encoding.X962, _uncompressed())
    return issuer.subject.public_bytes(), point


def _uncompressed() -> object:
    from cryptography.hazmat.primitives.serialization import PublicFormat

    return PublicFormat.UncompressedPoint


def _hashed(algorithm: hashes.HashAlgorithm, data: bytes) -> bytes:
    digest = hashes.Hash(algorithm)
    digest.update(data)
    return digest.finalize()
