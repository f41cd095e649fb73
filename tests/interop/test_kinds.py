"""An authority whose root, issuing CA and responder have keys of each kind, from a real token, before OpenSSL."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ca.hsm import KeyKind
from tests.world import World

pytestmark = pytest.mark.slow

HOMEBREW = ("/opt/homebrew/opt/openssl@3/bin/openssl", "/usr/local/opt/openssl@3/bin/openssl")
ALGORITHMS = {
    KeyKind.P384: "ecdsa-with-SHA384",
    KeyKind.ED25519: "ED25519",
    KeyKind.RSA_2048: "sha256WithRSAEncryption",
    KeyKind.RSA_3072: "sha256WithRSAEncryption",
    KeyKind.RSA_4096: "sha256WithRSAEncryption",
}
KINDS = [pytest.param(kind, marks=pytest.mark.slow if "RSA" in kind else ()) for kind in ALGORITHMS]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> KeyKind:
    return KeyKind(request.param)


@pytest.fixture
def authority(tmp_path: Path, kind: KeyKind) -> Iterator[World]:
    # Two sessions, so that the mode for network HSMs is run by real services as well.
    world = World(tmp_path, REMIT_PKCS11__KEY_KIND=kind.value, REMIT_PKCS11__SESSIONS="2").init().start()
    yield world
    world.stop()


def test_certificate_crl_and_ocsp_answer_verify(
    authority: World, kind: KeyKind, tmp_path: Path, find_tool: Any, run: Any
) -> None:
    openssl = find_tool(*HOMEBREW, "openssl", install="OpenSSL 3 (Debian: openssl, Homebrew: openssl@3)")
    live, revoked = authority.enrol(), authority.enrol()
    authority.json("revoke", revoked.serial, "--reason", "keyCompromise")
    authority.json("crl", "publish")
    leaf, issuing, crls = (tmp_path / name for name in ("leaf.pem", "issuing.pem", "crls.pem"))
    chain, revoked_chain = (x509.load_pem_x509_certificates(one.cert.read_bytes()) for one in (live, revoked))
    leaf.write_bytes(chain[0].public_bytes(Encoding.PEM))
    issuing.write_bytes(chain[1].public_bytes(Encoding.PEM))
    crls.write_bytes(b"".join({_crl(certificate) for certificate in (*chain, *revoked_chain)}))

    def verify(certificate: Path) -> str:
        trusted = ("-x509_strict", "-CAfile", authority.root_pem, "-untrusted", issuing)
        done = run(openssl, "verify", *trusted, "-crl_check_all", "-CRLfile", crls, certificate)
        return str(done.stdout + done.stderr)

    def ask(certificate: Path) -> str:
        question = ("-issuer", issuing, "-cert", certificate, "-url", f"{authority.status_url}/ocsp")
        done = run(openssl, "ocsp", "-CAfile", authority.root_pem, *question, "-resp_text")
        return str(done.stdout + done.stderr)

    assert verify(leaf) == f"{leaf}: OK\n"
    assert "certificate revoked" in verify(revoked.cert)
    words = ask(leaf)
    assert "Response verify OK" in words
    assert f"{leaf}: good" in words
    assert f"Signature Algorithm: {ALGORITHMS[kind]}" in words
    assert f"{revoked.cert}: revoked" in ask(revoked.cert)
    for certificate in (*chain, x509.load_pem_x509_certificate(authority.root_pem.read_bytes())):
        file = tmp_path / "one.pem"
        file.write_bytes(certificate.public_bytes(Encoding.PEM))
        assert f"Signature Algorithm: {ALGORITHMS[kind]}" in run(openssl, "x509", "-noout", "-text", "-in", file).stdout


def _crl(certificate: x509.Certificate) -> bytes:
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    with urllib.request.urlopen(points[0].full_name[0].value, timeout=10) as answer:
        return x509.load_der_x509_crl(answer.read()).public_bytes(Encoding.PEM)
