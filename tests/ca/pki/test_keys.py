"""Case 31, the kinds of keys. RSA's numbers are in `test_weak_rsa`, lists in `test_known_keys`, DER in `test_csr`."""

from __future__ import annotations

from hashlib import sha256

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa, x25519

from ca.hsm import KeyKind
from ca.pki import keys
from ca.pki.keys import InvalidSignature, PublicKey
from ca.pki.known_keys import KnownKeys
from ca.refusals import Reason, Refused
from tests.ca.pki import weak
from tests.ca.pki.known import listed
from tests.memory_signer import MemorySigner

RSA_2048 = rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        RSA_2048,
    ],
    ids=["P-256", "P-384", "Ed25519", "RSA"],
)
def test_the_kinds_of_the_list_are_narrowed(key: ec.EllipticCurvePrivateKey) -> None:
    assert keys.narrow(key.public_key()) == key.public_key()


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP224R1()).public_key(),
        ec.generate_private_key(ec.SECP521R1()).public_key(),
        ec.generate_private_key(ec.SECP256K1()).public_key(),
        ec.generate_private_key(ec.BrainpoolP256R1()).public_key(),
        ed448.Ed448PrivateKey.generate().public_key(),
        x25519.X25519PrivateKey.generate().public_key(),
        dsa.generate_private_key(2048).public_key(),
        RSA_2048,
        None,
        b"key",
    ],
    ids=["P-224", "P-521", "secp256k1", "brainpool", "Ed448", "X25519", "DSA", "private half", "None", "bytes"],
)
def test_every_other_kind_is_refused(key: object) -> None:
    with pytest.raises(Refused) as caught:
        keys.narrow(key)
    assert caught.value.reason is Reason.KEY_REFUSED


def test_rsa_needs_the_policys_word() -> None:
    assert keys.admit(RSA_2048.public_key(), rsa_allowed=True) == RSA_2048.public_key()
    with pytest.raises(Refused, match="P-256") as caught:
        keys.admit(RSA_2048.public_key(), rsa_allowed=False)
    assert caught.value.reason is Reason.KEY_REFUSED


def test_other_keys_need_no_word() -> None:
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    assert keys.admit(key, rsa_allowed=False) == key


WEAK = {
    "1024 bits": (rsa.generate_private_key(65537, 1024), "must have"),
    "exponent 3": (rsa.generate_private_key(3, 2048), "exponent"),
    "primes close together": (weak.close(), "too close"),
    "ROCA": (weak.roca(), "ROCA"),
}


@pytest.mark.parametrize(("key", "why"), WEAK.values(), ids=WEAK.keys())
def test_a_weak_rsa_key_is_refused(key: rsa.RSAPrivateKey, why: str) -> None:
    with pytest.raises(Refused, match=why) as caught:
        keys.admit(key.public_key(), rsa_allowed=True)
    assert caught.value.reason is Reason.KEY_REFUSED


def test_a_modulus_with_a_small_factor_is_refused() -> None:
    with pytest.raises(Refused, match="small factor"):
        keys.admit(rsa.RSAPublicNumbers(65537, weak.small_factor()).public_key(), rsa_allowed=True)


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_a_sound_rsa_key_is_admitted(bits: int) -> None:
    assert keys.admit(rsa.generate_private_key(65537, bits).public_key(), rsa_allowed=True)


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.P384, KeyKind.ED25519, KeyKind.RSA_2048])
def test_a_key_that_is_publicly_known_is_refused(kind: KeyKind) -> None:
    key, other = MemorySigner().generate("one", kind), MemorySigner().generate("other", kind)
    known = KnownKeys(listed(key))
    with pytest.raises(Refused, match="publicly known") as caught:
        keys.admit(key, rsa_allowed=True, known=known)
    assert caught.value.reason is Reason.KEY_REFUSED
    assert keys.admit(other, rsa_allowed=True, known=known) == other


@pytest.mark.parametrize("kind", [KeyKind.ML_DSA_44, KeyKind.ML_DSA_65, KeyKind.ML_DSA_87])
def test_no_agent_brings_an_ml_dsa_key(kind: KeyKind) -> None:
    with pytest.raises(Refused, match="ML-DSA") as caught:
        keys.admit(MemorySigner().generate("one", kind), rsa_allowed=True)
    assert caught.value.reason is Reason.KEY_REFUSED


# Ed25519 (RFC 8032 5.1): the curve is -x^2 + y^2 = 1 + d x^2 y^2 over this field.

FIELD = 2**255 - 19
D = -121665 * pow(121666, -1, FIELD) % FIELD


def order_divides_8(y: int) -> bool:
    """Doubling three times ends in the neutral element, whose y is 1. The curve gives x^2 for y^2."""
    for _ in range(3):
        y2 = y * y % FIELD
        x2 = (y2 - 1) * pow(D * y2 + 1, -1, FIELD) % FIELD
        y = (y2 + x2) * pow(1 - D * x2 * y2, -1, FIELD) % FIELD
    return y == 1


def test_the_points_of_small_order_are_these() -> None:
    assert len(keys._ED25519_SMALL_ORDER) == 5, "eight points: one, one, two, and twice two of order 8"
    assert all(order_divides_8(y) for y in keys._ED25519_SMALL_ORDER)
    assert {FIELD - y for y in keys._ED25519_SMALL_ORDER} | {0, 1} >= keys._ED25519_SMALL_ORDER - {0}


NOT_CANONICAL = range(FIELD, 2**255)


@pytest.mark.parametrize("sign", [0, 1 << 255], ids=["x even", "x odd"])
@pytest.mark.parametrize("y", [*sorted(keys._ED25519_SMALL_ORDER), *NOT_CANONICAL])
def test_an_ed25519_key_that_proves_nothing_is_refused(y: int, sign: int) -> None:
    key = ed25519.Ed25519PublicKey.from_public_bytes((y | sign).to_bytes(32, "little"))
    with pytest.raises(Refused, match="Ed25519") as caught:
        keys.admit(key, rsa_allowed=False)
    assert caught.value.reason is Reason.KEY_REFUSED


def test_the_neutral_element_would_prove_possession_to_anybody() -> None:
    """Why the check is there: R is the base point, S is one, and no private key is in it."""
    base = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex("58" + "66" * 31)).public_bytes_raw()
    neutral = ed25519.Ed25519PublicKey.from_public_bytes((1).to_bytes(32, "little"))
    keys.verify(neutral, base + (1).to_bytes(32, "little"), b"any message")


def test_a_thumbprint_is_over_the_whole_spki() -> None:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key()
    expected = bytes.fromhex("302a300506032b6570032100") + key.public_bytes_raw()
    assert keys.spki(key) == expected
    assert keys.thumbprint(key).digest == sha256(expected).digest()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (KeyKind.P256, hashes.SHA256),
        (KeyKind.P384, hashes.SHA384),
        (KeyKind.RSA_2048, hashes.SHA256),
        (KeyKind.ED25519, type(None)),
    ],
)
def test_a_signature_verifies_over_its_message_alone(kind: KeyKind, expected: type) -> None:
    signer = MemorySigner()
    key, other = signer.generate("one", kind), signer.generate("two", kind)
    [signature] = signer.sign(key, [b"message"]).result()
    assert isinstance(keys.hash_for(key), expected)
    keys.verify(key, signature, b"message")
    for wrong in (
        (other, signature, b"message"),
        (key, signature, b"messagf"),
        (key, signature[:-1], b"message"),
        (key, signature + b"\x00", b"message"),
        (key, b"", b"message"),
        (key, bytes(len(signature)), b"message"),
    ):
        _refused(*wrong)


def _refused(key: PublicKey, signature: bytes, message: bytes) -> None:
    with pytest.raises(InvalidSignature):
        keys.verify(key, signature, message)


def test_ecdsa_with_another_hash_does_not_verify() -> None:
    private = ec.generate_private_key(ec.SECP384R1())
    _refused(private.public_key(), private.sign(b"message", ec.ECDSA(hashes.SHA256())), b"message")


def test_rsa_with_another_padding_does_not_verify() -> None:
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    _refused(RSA_2048.public_key(), RSA_2048.sign(b"message", pss, hashes.SHA256()), b"message")
