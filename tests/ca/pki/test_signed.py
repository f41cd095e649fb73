from __future__ import annotations

import copy

import pytest
from asn1crypto import x509 as independent
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ca.hsm import KeyKind
from ca.pki import certificate, signed
from ca.pki.keys import InvalidSignature
from ca.pki.profile import Kind
from ca.pki.signed import ToBeSigned
from tests.ca.pki.specimens import Hierarchy, serial
from tests.memory_signer import MemorySigner

ALGORITHMS = {
    KeyKind.P256: bytes.fromhex("300a06082a8648ce3d040302"),
    KeyKind.P384: bytes.fromhex("300a06082a8648ce3d040303"),
    KeyKind.ED25519: bytes.fromhex("300506032b6570"),
    KeyKind.RSA_2048: bytes.fromhex("300d06092a864886f70d01010b0500"),
}


def to_be_signed(hierarchy: Hierarchy, number: int = 1) -> ToBeSigned:
    return certificate.to_be_signed(hierarchy.contents(Kind.AGENT), serial(number), hierarchy.issuer)


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_a_draft_and_its_signature_make_the_certificate(kind: KeyKind) -> None:
    hierarchy = Hierarchy(kind)
    draft = to_be_signed(hierarchy)
    [signature] = hierarchy.signer.sign(hierarchy.issuer.public_key, [draft.tbs]).result()
    der = signed.seal(draft, signature, hierarchy.issuer.public_key)
    parsed = independent.Certificate.load(der, strict=True)
    assert draft.algorithm == ALGORITHMS[kind]
    assert parsed["tbs_certificate"].dump() == draft.tbs
    assert parsed["signature_algorithm"].dump() == draft.algorithm == parsed["tbs_certificate"]["signature"].dump()
    assert parsed["signature_value"].native == signature
    x509.load_der_x509_certificate(der).verify_directly_issued_by(hierarchy.issuer.certificate)


def test_a_draft_is_what_the_library_itself_would_sign() -> None:
    """The recorder changes nothing: a builder with a real key makes the same TBSCertificate."""
    private = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(private.public_key())
        .serial_number(5)
        .not_valid_before(Hierarchy().root.certificate.not_valid_before_utc)
        .not_valid_after(Hierarchy().root.certificate.not_valid_after_utc)
    )
    assert signed.draft(builder, private.public_key()).tbs == builder.sign(private, SHA256()).tbs_certificate_bytes


def test_seal_refuses_what_does_not_verify(hierarchy: Hierarchy) -> None:
    """Case 7: other bytes, another key, r and s swapped, nothing."""
    key, draft = hierarchy.issuer.public_key, to_be_signed(hierarchy)
    [right] = hierarchy.signer.sign(key, [draft.tbs]).result()
    [other_bytes] = hierarchy.signer.sign(key, [to_be_signed(hierarchy, 2).tbs]).result()
    [other_key] = hierarchy.signer.sign(hierarchy.root.public_key, [draft.tbs]).result()
    swapped = encode_dss_signature(*reversed(decode_dss_signature(right)))
    wrong = [other_bytes, other_key, swapped, b"", right[:-1], right + b"\x00", bytes(len(right)), b"\x30\x00"]
    for signature in wrong:
        with pytest.raises(InvalidSignature):
            signed.seal(draft, signature, key)
    assert signed.seal(draft, right, key)


def test_seal_verifies_the_very_bytes(hierarchy: Hierarchy) -> None:
    key, draft = hierarchy.issuer.public_key, to_be_signed(hierarchy)
    [signature] = hierarchy.signer.sign(key, [draft.tbs]).result()
    for position in range(0, len(draft.tbs), 37):
        flipped = bytearray(draft.tbs)
        flipped[position] ^= 1
        with pytest.raises(InvalidSignature):
            signed.seal(ToBeSigned(bytes(flipped), draft.algorithm), signature, key)


def test_assembling_again_gives_the_same_octets(hierarchy: Hierarchy) -> None:
    """The database keeps the parts; the certificate that is shown later is the one that was handed out."""
    key, draft = hierarchy.issuer.public_key, to_be_signed(hierarchy)
    [signature] = hierarchy.signer.sign(key, [draft.tbs]).result()
    assert signed.assemble(draft, signature) == signed.seal(draft, signature, key)


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_a_recording_key_remembers_and_gives_nothing(kind: KeyKind) -> None:
    public = MemorySigner().generate("key", kind)
    key = signed.recording_key(public)
    assert key.sign(b"message") == b"\x00"
    assert key.recorded == b"message"
    assert key.public_key() is public
    for act in (
        lambda: key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        lambda: copy.copy(key),
        lambda: copy.deepcopy(key),
    ):
        with pytest.raises(NotImplementedError):
            act()


def test_a_recording_key_is_of_the_kind_that_builders_ask_for() -> None:
    signer = MemorySigner()
    elliptic, edwards, rsa_key = (
        signed.recording_key(signer.generate("key", kind)) for kind in (KeyKind.P384, KeyKind.ED25519, KeyKind.RSA_2048)
    )
    assert isinstance(elliptic, ec.EllipticCurvePrivateKey)
    assert (elliptic.curve.name, elliptic.key_size) == ("secp384r1", 384)
    assert isinstance(edwards, ed25519.Ed25519PrivateKey)
    assert isinstance(rsa_key, rsa.RSAPrivateKey)
    assert rsa_key.key_size == 2048
    with pytest.raises(NotImplementedError):
        rsa_key.decrypt(b"", padding.PKCS1v15())
    with pytest.raises(NotImplementedError):
        elliptic.private_numbers()


def test_a_to_be_signed_that_is_not_der_is_not_assembled(hierarchy: Hierarchy) -> None:
    draft = to_be_signed(hierarchy)
    with pytest.raises(ValueError, match=r".+"):
        signed.assemble(ToBeSigned(draft.tbs + b"\x00", draft.algorithm), b"\x00")
