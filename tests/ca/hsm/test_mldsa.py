"""A CA with ML-DSA keys (RFC 9881): in memory, and in a token of Kryoptic where the machine has that module.

Kryoptic is a software token like SoftHSM, with the mechanisms of PKCS #11 v3.2; `kryoptic/Cargo.toml` builds it.
KRYOPTIC_MODULE names it where it is not in a place that distributions use.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from ca.hsm import KeyKind, Signer, TokenFault
from ca.hsm.owner import Owner
from ca.pki import crl, keys, lint
from ca.pki.certificate import to_be_signed
from ca.pki.crl import Scope
from ca.pki.crl_lint import Wanted, lint_crl
from ca.pki.profile import Kind
from ca.pki.signed import ToBeSigned, algorithm_identifier, seal
from ca.refusals import Reason, Refused
from ocsp.answer import GOOD, Contents, Signatory, response, response_data
from ocsp.request import parse
from softhsm.initialise import ensure_token
from tests.ca.pki.specimens import NOW, Hierarchy, serial
from tests.faults.shim import Fault, Shim
from tests.memory_signer import MemorySigner

from .conftest import LABEL, started, until

# The object identifiers of RFC 9881 2 (id-ml-dsa-44, -65 and -87), in an AlgorithmIdentifier without parameters.
ALGORITHMS = {
    KeyKind.ML_DSA_44: bytes.fromhex("300b0609608648016503040311"),
    KeyKind.ML_DSA_65: bytes.fromhex("300b0609608648016503040312"),
    KeyKind.ML_DSA_87: bytes.fromhex("300b0609608648016503040313"),
}
PLACES = ("/usr/lib64/pkcs11/libkryoptic_pkcs11.so", "/usr/lib/x86_64-linux-gnu/pkcs11/libkryoptic_pkcs11.so")


@pytest.fixture
def kryoptic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shim]:
    """A token of Kryoptic, behind the shim, which exports the functions that initialise one."""
    found = [Path(place) for place in (os.environ.get("KRYOPTIC_MODULE", ""), *PLACES) if Path(place).is_file()]
    if not found:
        pytest.skip("Kryoptic is not on this machine; KRYOPTIC_MODULE names it")
    configuration = tmp_path / "kryoptic.conf"
    configuration.write_text(f'[[slots]]\nslot = 1\ndbtype = "sqlite"\ndbargs = "{tmp_path / "token.sql"}"\n')
    monkeypatch.setenv("KRYOPTIC_CONF", str(configuration))
    shim = Shim(tmp_path, found[0])
    shim.use(monkeypatch)
    ensure_token(tmp_path / "token", LABEL, tmp_path / "pin", tmp_path / "so-pin", shim.module)
    yield shim
    shim.clear()


@pytest.fixture(params=["memory", "token"])
def signer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Signer]:
    if request.param == "memory":
        yield MemorySigner()
    else:
        shim: Shim = request.getfixturevalue("kryoptic")
        with started(Owner(shim.module, LABEL, (tmp_path / "pin").read_text)) as owner:
            yield owner


@dataclass(frozen=True)
class Ca:
    """A hierarchy whose keys are all of one kind."""

    kind: KeyKind
    hierarchy: Hierarchy

    def signed(self, made: ToBeSigned) -> bytes:
        """What the issuing CA signs, sealed."""
        key = self.hierarchy.issuer.public_key
        [signature] = self.hierarchy.signer.sign(key, [made.tbs]).result()
        return seal(made, signature, key)


@pytest.fixture(params=ALGORITHMS)
def ca(request: pytest.FixtureRequest, signer: MemorySigner) -> Ca:
    return Ca(request.param, Hierarchy(request.param, signer))


def test_the_hierarchy_and_a_leaf_verify(ca: Ca) -> None:
    root, issuer = ca.hierarchy.root, ca.hierarchy.issuer
    contents = ca.hierarchy.contents(Kind.AGENT)
    made = to_be_signed(contents, serial(), issuer)
    linted = lint.lint_certificate(made, contents, serial(), issuer, NOW)
    leaf = x509.load_der_x509_certificate(ca.signed(linted.to_be_signed))
    for certificate, by in ((root.certificate, root), (issuer.certificate, root), (leaf, issuer)):
        keys.verify(by.public_key, certificate.signature, certificate.tbs_certificate_bytes)
        assert ALGORITHMS[ca.kind] in certificate.tbs_certificate_bytes
    assert algorithm_identifier(issuer.public_key) == made.algorithm == ALGORITHMS[ca.kind]


def test_a_list_verifies(ca: Ca) -> None:
    issuer, end = ca.hierarchy.issuer, NOW + timedelta(hours=1)
    entries = [crl.entry(serial(7), NOW, x509.ReasonFlags.key_compromise)]
    made = crl.to_be_signed(issuer, entries, number=1, this_update=NOW, next_update=end, scope=Scope())
    linted = lint_crl(made, Wanted(issuer, 1, NOW, end, Scope()))
    read = x509.load_der_x509_crl(ca.signed(linted.to_be_signed))
    keys.verify(issuer.public_key, read.signature, read.tbs_certlist_bytes)
    assert [entry.serial_number for entry in read] == [serial(7).number]


def test_an_ocsp_answer_verifies(ca: Ca) -> None:
    hierarchy = ca.hierarchy
    key = hierarchy.signer.generate("ocsp", ca.kind)
    responder = hierarchy.issue(hierarchy.contents(Kind.RESPONDER, key))
    leaf = hierarchy.issue(hierarchy.contents(Kind.AGENT), 2)
    asked = ocsp.OCSPRequestBuilder().add_certificate(leaf, hierarchy.issuer.certificate, hashes.SHA256()).build()
    by = Signatory.of(responder)
    asked_for = parse(asked.public_bytes(Encoding.DER))
    tbs = response_data(by, Contents(asked_for, (GOOD,), NOW, NOW + timedelta(seconds=60)))
    [signature] = hierarchy.signer.sign(key, [tbs]).result()
    read = ocsp.load_der_ocsp_response(response(tbs, signature, by))
    keys.verify(key, read.signature, read.tbs_response_bytes)
    assert read.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert ALGORITHMS[ca.kind] in response(tbs, signature, by)


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_a_signature_is_over_one_message_by_one_key(kind: KeyKind) -> None:
    signer = MemorySigner()
    key, other = signer.generate("one", kind), signer.generate("two", kind)
    [signature] = signer.sign(key, [b"message"]).result()
    keys.verify(key, signature, b"message")
    wrong = [(other, signature, b"message"), (key, signature, b"messagf"), (key, signature[:-1], b"message")]
    wrong += [(key, signature + b"\x00", b"message"), (key, b"", b"message")]
    for case in wrong:
        with pytest.raises(keys.InvalidSignature):
            keys.verify(*case)


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_no_agent_brings_such_a_key(kind: KeyKind) -> None:
    with pytest.raises(Refused, match="ML-DSA keys are not accepted here") as caught:
        keys.admit(MemorySigner().generate("agent", kind), rsa_allowed=True)
    assert caught.value.reason is Reason.KEY_REFUSED


@pytest.mark.parametrize("kind", ALGORITHMS)
@pytest.mark.parametrize("sessions", [1, 2])
def test_a_token_with_ml_dsa_recovers_as_any_other(
    kryoptic: Shim, tmp_path: Path, kind: KeyKind, sessions: int
) -> None:
    with started(Owner(kryoptic.module, LABEL, (tmp_path / "pin").read_text, sessions)) as owner:
        key = owner.generate("issuing", kind)
        kryoptic.fail(Fault.EMPTY)
        assert isinstance(owner.sign(key, [b"m"]).exception(5), TokenFault)
        kryoptic.clear()
        until(lambda: owner.sign(key, [b"m"]).exception(5) is None)
        keys.verify(key, owner.sign(key, [b"m"]).result()[0], b"m")
