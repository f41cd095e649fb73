from __future__ import annotations

from hashlib import sha256

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa, x25519

from ca.hsm import KeyKind
from ca.pki import keys
from ca.pki.keys import InvalidSignature, PublicKey
from ca.refusals import Reason, Refused
from tests.ca.pki.cost import cpu_seconds
from tests.memory_signer import MemorySigner

CPU_SECONDS = 0.005  # case 31
RSA_2048 = rsa.generate_private_key(65537, 2048)


def rsa_public(modulus: int, exponent: int = 65537) -> rsa.RSAPublicKey:
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


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


def _next_prime(start: int) -> int:
    candidate = start | 1
    while pow(2, candidate - 1, candidate) != 1:
        candidate += 2
    return candidate


CLOSE_PRIME = _next_prime((1 << 1023) + (1 << 1022) + 1)
CLOSE = CLOSE_PRIME * _next_prime(CLOSE_PRIME + 2)
WEAK = {
    "1024 bits": (rsa.generate_private_key(65537, 1024).public_key().public_numbers().n, 65537, "must have"),
    "2047 bits": ((1 << 2046) | 1, 65537, "must have"),
    "2056 bits": ((1 << 2055) | 1, 65537, "must have"),
    "8192 bits": ((1 << 8191) | 1, 65537, "must have"),
    "exponent 3": (RSA_2048.public_key().public_numbers().n, 3, "exponent"),
    "exponent 17": (RSA_2048.public_key().public_numbers().n, 17, "exponent"),
    "a large exponent": (RSA_2048.public_key().public_numbers().n, (1 << 64) + 1, "exponent"),
    "divisible by 3": ((1 << 2048) - 1, 65537, "small factor"),
    "divisible by 751": (751 * (((1 << 2048) - 1) // 751 | 1), 65537, "small factor"),
    "a square": (CLOSE_PRIME**2, 65537, "too close"),
    "primes close together": (CLOSE, 65537, "too close"),
}


@pytest.mark.parametrize(("modulus", "exponent", "why"), WEAK.values(), ids=WEAK.keys())
def test_a_weak_rsa_key_is_refused_quickly(modulus: int, exponent: int, why: str) -> None:
    key = rsa_public(modulus, exponent)

    def refused() -> None:
        with pytest.raises(Refused, match=why) as caught:
            keys.admit(key, rsa_allowed=True)
        assert caught.value.reason is Reason.KEY_REFUSED

    assert cpu_seconds(refused) < CPU_SECONDS


def test_an_even_modulus_is_refused() -> None:
    # The library itself refuses to load one; the rule stands on its own.
    numbers = rsa.RSAPublicNumbers(65537, RSA_2048.public_key().public_numbers().n + 1)
    with pytest.raises(Refused):
        keys._admit_rsa(numbers)


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_a_sound_rsa_key_is_admitted_quickly(bits: int) -> None:
    key = rsa.generate_private_key(65537, bits).public_key()
    assert cpu_seconds(lambda: keys.admit(key, rsa_allowed=True)) < CPU_SECONDS


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
