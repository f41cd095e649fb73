"""pkilint: nothing at warning level or above in what the service signs, but for pkilint_waivers.toml."""

from __future__ import annotations

import json
import ssl
import sys
import tomllib
import urllib.request
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

WAIVERS = tomllib.loads(Path(__file__).with_name("pkilint_waivers.toml").read_text("utf-8"))["waiver"]
NEVER_ISSUED = 0x0102030405060708090A0B0C0D0E0F10111213
CERTIFICATE = ("lint_pkix_cert",)
OCSP = ("lint_ocsp_response",)
LINTERS = {
    "root": CERTIFICATE,
    "issuing": CERTIFICATE,
    "responder": CERTIFICATE,
    "agent": CERTIFICATE,
    "operator": CERTIFICATE,
    "server": CERTIFICATE,
    "root-crl": ("lint_crl", "-t", "ARL", "-p", "PKIX"),
    "issuing-crl": ("lint_crl", "-t", "CRL", "-p", "PKIX"),
    "ocsp-good": OCSP,
    "ocsp-revoked": OCSP,
    "ocsp-never-issued": OCSP,
    "ocsp-sha256-nonce": OCSP,
}
PAIRS = {
    "root-issuing": ("root", "issuing"),
    "issuing-agent": ("issuing", "agent"),
    "issuing-responder": ("issuing", "responder"),
}


@dataclass(frozen=True)
class Finding:
    node: str
    code: str
    message: str

    def waived_by(self, waiver: dict[str, Any], name: str) -> bool:
        return (
            name in waiver["objects"]
            and self.code == waiver["code"]
            and fnmatchcase(self.node, waiver["node"])
            and fnmatchcase(self.message, waiver["message"])
        )


@pytest.fixture(scope="module")
def objects(world: Any, subjects: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One of each thing that the service signs, as PEM or DER files."""
    folder = tmp_path_factory.mktemp("pkilint")
    live, revoked = subjects.live.certificate.serial_number, subjects.revoked.certificate.serial_number
    api = urlsplit(world.api_url)
    operator = x509.load_pem_x509_certificate((Path(world.home) / "operators" / "admin" / "tls.crt").read_bytes())
    contents = {
        "root": subjects.root.read_bytes(),
        "issuing": subjects.issuing.read_bytes(),
        "agent": subjects.live.leaf.read_bytes(),
        "operator": operator.public_bytes(Encoding.PEM),
        "server": ssl.get_server_certificate((api.hostname or "", api.port or 443), timeout=10).encode(),
        "root-crl": subjects.root_crl.read_bytes(),
        "issuing-crl": subjects.issuing_crl.read_bytes(),
        "ocsp-good": _answer(subjects, live, hashes.SHA1()),
        "ocsp-revoked": _answer(subjects, revoked, hashes.SHA1()),
        "ocsp-never-issued": _answer(subjects, NEVER_ISSUED, hashes.SHA1()),
        "ocsp-sha256-nonce": _answer(subjects, live, hashes.SHA256(), nonce=bytes(range(32))),
    }
    (responder,) = ocsp.load_der_ocsp_response(contents["ocsp-good"]).certificates
    contents["responder"] = responder.public_bytes(Encoding.PEM)
    return {name: _write(folder / name, content) for name, content in contents.items()}


def _answer(subjects: Any, serial: int, digest: hashes.HashAlgorithm, nonce: bytes | None = None) -> bytes:
    """What the responder says of `serial` under the issuing CA, in DER."""
    issuing = x509.load_pem_x509_certificate(subjects.issuing.read_bytes())
    ours = ocsp.OCSPRequestBuilder().add_certificate(subjects.live.certificate, issuing, digest).build()
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        ours.issuer_name_hash, ours.issuer_key_hash, serial, digest
    )
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    question = urllib.request.Request(
        subjects.live.ocsp_url,
        data=builder.build().public_bytes(Encoding.DER),
        headers={"Content-Type": "application/ocsp-request"},
    )
    with urllib.request.urlopen(question, timeout=10) as answer:
        return bytes(answer.read())


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def findings(objects: dict[str, Path], run: Any) -> dict[str, list[Finding]]:
    """What pkilint says of each object, and of each certificate beside its issuer's."""
    said = {name: _lint(run, linter, "lint", *options, objects[name]) for name, (linter, *options) in LINTERS.items()}
    for name, (issuer, subject) in PAIRS.items():
        said[name] = _lint(run, "lint_pkix_signer_signee_cert_chain", "lint", objects[issuer], objects[subject])
    return said


def _lint(run: Any, linter: str, *arguments: str | Path) -> list[Finding]:
    done = run(sys.executable, "-m", f"pkilint.bin.{linter}", *arguments, "-s", "WARNING", "-f", "JSON")
    # The exit status counts the findings, and is 1 for a crash too: the report itself is what tells them apart.
    assert done.stdout, done.stderr
    return [
        Finding(node=result["node_path"], code=finding["code"], message=finding["message"] or "")
        for result in json.loads(done.stdout)["results"]
        for finding in result["finding_descriptions"]
    ]


@pytest.mark.parametrize("name", [*LINTERS, *PAIRS])
def test_pkilint_finds_nothing_that_is_not_waived(findings: dict[str, list[Finding]], name: str) -> None:
    assert [each for each in findings[name] if not any(each.waived_by(waiver, name) for waiver in WAIVERS)] == []


@pytest.mark.parametrize("waiver", WAIVERS, ids=lambda waiver: waiver["code"])
def test_every_waiver_is_still_needed(findings: dict[str, list[Finding]], waiver: dict[str, Any]) -> None:
    for name in waiver["objects"]:
        assert any(each.waived_by(waiver, name) for each in findings[name]), f"{name} needs no waiver any more"


def test_every_waiver_has_a_reason_and_names_known_objects() -> None:
    for waiver in WAIVERS:
        assert waiver.keys() == {"objects", "code", "node", "message", "reason"}
        assert len(waiver["reason"].split()) >= 5
        assert set(waiver["objects"]) <= {*LINTERS, *PAIRS}


def test_pkilint_would_speak_up(objects: dict[str, Path], run: Any, tmp_path: Path) -> None:
    """A control: with one octet of the CRL number's OID changed the very same run finds something."""
    der = x509.load_pem_x509_crl(objects["root-crl"].read_bytes()).public_bytes(Encoding.DER)
    crl_number, unknown = bytes.fromhex("0603551d14"), bytes.fromhex("0603551d7f")
    assert der.count(crl_number) == 1
    changed = _write(tmp_path / "crl.der", der.replace(crl_number, unknown))
    assert _lint(run, "lint_crl", "lint", "-t", "ARL", "-p", "PKIX", changed) != []
