"""How keys sign: pure, so a key of cryptography plays the module."""

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st
from pkcs11 import Mechanism

from ca.hsm.mechanisms import ecdsa_der, procedure_for
from ca.hsm.signer import KeyKind
from ca.pki.keys import verify
from tests.memory_signer import MemorySigner

MESSAGE = b"to be signed"
CURVES = [(ec.SECP256R1(), hashes.SHA256(), 32), (ec.SECP384R1(), hashes.SHA384(), 48)]


@pytest.mark.parametrize(("curve", "digest", "octets"), CURVES, ids=["P-256", "P-384"])
def test_ecdsa_is_given_the_digest_and_becomes_der(
    curve: ec.EllipticCurve, digest: hashes.HashAlgorithm, octets: int
) -> None:
    key = ec.generate_private_key(curve)
    procedure = procedure_for(key.public_key())
    assert procedure.mechanism is Mechanism.ECDSA
    der = key.sign(procedure.prepare(MESSAGE), ec.ECDSA(Prehashed(digest)))
    raw = b"".join(number.to_bytes(octets, "big") for number in decode_dss_signature(der))
    assert procedure.finish(raw) == der
    verify(key.public_key(), procedure.finish(raw), MESSAGE)


def test_ed25519_is_given_the_message() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    procedure = procedure_for(key.public_key())
    assert procedure.mechanism is Mechanism.EDDSA
    verify(key.public_key(), procedure.finish(key.sign(procedure.prepare(MESSAGE))), MESSAGE)


def test_rsa_is_given_the_message_and_hashes_in_the_module() -> None:
    key = rsa.generate_private_key(65537, 2048)
    procedure = procedure_for(key.public_key())
    assert procedure.mechanism is Mechanism.SHA256_RSA_PKCS
    signature = key.sign(procedure.prepare(MESSAGE), padding.PKCS1v15(), hashes.SHA256())
    verify(key.public_key(), procedure.finish(signature), MESSAGE)


@pytest.mark.parametrize(
    ("kind", "octets"),
    [
        (KeyKind.ED25519, 64),
        (KeyKind.RSA_2048, 256),
        (KeyKind.RSA_3072, 384),
        (KeyKind.ML_DSA_44, 2420),
        (KeyKind.ML_DSA_65, 3309),
        (KeyKind.ML_DSA_87, 4627),
    ],
)
def test_an_output_of_another_size_than_the_keys_is_refused(kind: KeyKind, octets: int) -> None:
    procedure = procedure_for(MemorySigner().generate("key", kind))
    assert procedure.finish(bytes(octets)) == bytes(octets)
    for length in (0, octets - 1, octets + 1):
        with pytest.raises(ValueError, match=f"{octets} were due"):
            procedure.finish(bytes(length))


@given(st.integers(1, 2**256 - 1), st.integers(1, 2**256 - 1))
def test_der_holds_the_same_two_numbers(r: int, s: int) -> None:
    assert decode_dss_signature(ecdsa_der(r.to_bytes(32, "big") + s.to_bytes(32, "big"), 32)) == (r, s)


@pytest.mark.parametrize("length", [0, 32, 63, 65, 96])
def test_a_signature_of_another_size_is_not_guessed_at(length: int) -> None:
    with pytest.raises(ValueError, match="64 were due"):
        ecdsa_der(bytes(length), 32)
