"""Public keys: which ones an agent may bring, and how each kind signs and verifies.

The policy is an allow-list. Elliptic curves are P-256 and P-384 (cryptography loads many more),
Edwards is Ed25519, RSA only by policy. With ML-DSA a CA signs; no agent brings such a key.
"""

from __future__ import annotations

from math import gcd

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ca.identifiers import Thumbprint
from ca.refusals import Reason, Refused

__all__ = ["InvalidSignature", "PublicKey", "admit", "hash_for", "narrow", "spki", "thumbprint", "verify"]

MlDsaPublicKey = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey | MlDsaPublicKey

_CURVE_HASHES: dict[str, hashes.HashAlgorithm] = {"secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384()}
_RSA_BITS = (2048, 3072, 4096)
_SMALL_PRIMES_PRODUCT = 1
for _n in range(3, 752, 2):
    if gcd(_n, _SMALL_PRIMES_PRODUCT) == 1:
        _SMALL_PRIMES_PRODUCT *= _n
_FERMAT_ROUNDS = 100


def narrow(key: object) -> PublicKey:
    """The same key, typed; refuses every kind that this authority never signs for.

    Raises `Refused(KEY_REFUSED)`.
    """
    match key:
        case ec.EllipticCurvePublicKey() if key.curve.name in _CURVE_HASHES:
            return key
        case ed25519.Ed25519PublicKey() | rsa.RSAPublicKey():
            return key
        case mldsa.MLDSA44PublicKey() | mldsa.MLDSA65PublicKey() | mldsa.MLDSA87PublicKey():
            return key
        case _:
            raise Refused(
                Reason.KEY_REFUSED, "The key must be on P-256 or P-384, or Ed25519; RSA where the policy allows it."
            )


def admit(key: PublicKey, *, rsa_allowed: bool) -> PublicKey:
    """The subscriber key policy (CA/Browser Forum BR 6.1.1.3 and 6.1.6 where they apply to RSA).

    Raises `Refused(KEY_REFUSED)` with what to bring instead.
    """
    if isinstance(key, rsa.RSAPublicKey):
        if not rsa_allowed:
            raise Refused(Reason.KEY_REFUSED, "RSA keys are not accepted here; bring P-256, P-384 or Ed25519.")
        _admit_rsa(key.public_numbers())
    if isinstance(key, MlDsaPublicKey):
        raise Refused(Reason.KEY_REFUSED, "ML-DSA keys are not accepted here; bring P-256, P-384 or Ed25519.")
    return key


def _admit_rsa(numbers: rsa.RSAPublicNumbers) -> None:
    modulus, exponent = numbers.n, numbers.e
    if modulus.bit_length() not in _RSA_BITS:
        raise Refused(Reason.KEY_REFUSED, "An RSA key must have 2048, 3072 or 4096 bits.")
    if exponent != 65537:
        raise Refused(Reason.KEY_REFUSED, "The RSA public exponent must be 65537.")
    if gcd(modulus, _SMALL_PRIMES_PRODUCT) != 1 or modulus % 2 == 0:
        raise Refused(Reason.KEY_REFUSED, "The RSA modulus has a small factor; make a new key.")
    if _primes_are_close(modulus):
        raise Refused(Reason.KEY_REFUSED, "The RSA primes are too close to each other; make a new key.")


def _primes_are_close(modulus: int) -> bool:
    """Fermat's factorisation, 100 rounds: finds primes that share about half of their leading bits."""
    from math import isqrt  # noqa: PLC0415 (beside its one use)

    a = isqrt(modulus)
    if a * a < modulus:
        a += 1
    for _ in range(_FERMAT_ROUNDS):
        b_squared = a * a - modulus
        if isqrt(b_squared) ** 2 == b_squared:
            return True
        a += 1
    return False


def spki(key: PublicKey) -> bytes:
    """The key's SubjectPublicKeyInfo in DER (RFC 5280 4.1.2.7)."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def thumbprint(key: PublicKey) -> Thumbprint:
    """SHA-256 over the SubjectPublicKeyInfo: how this authority names a key."""
    return Thumbprint.of(spki(key))


def hash_for(key: PublicKey) -> hashes.SHA256 | hashes.SHA384 | None:
    """The hash that this key signs with: SHA-256, for P-384 SHA-384, none for Ed25519 (RFC 8410 3) and ML-DSA."""
    match key:
        case ed25519.Ed25519PublicKey() | mldsa.MLDSA44PublicKey():
            return None
        case mldsa.MLDSA65PublicKey() | mldsa.MLDSA87PublicKey():
            return None
        case ec.EllipticCurvePublicKey() if key.curve.name == "secp384r1":
            return hashes.SHA384()
        case _:
            return hashes.SHA256()


def verify(key: PublicKey, signature: bytes, message: bytes) -> None:
    """Checks an X.509 signature: ECDSA as DER (RFC 3279 2.2.3), RSA as PKCS #1 v1.5, Ed25519 raw, ML-DSA pure.

    RFC 9881 3: ML-DSA in X.509 has an empty context and no hash before it. Raises `InvalidSignature`.
    """
    match key:
        case ec.EllipticCurvePublicKey():
            key.verify(signature, message, ec.ECDSA(hash_for(key) or hashes.SHA256()))
        case rsa.RSAPublicKey():
            key.verify(signature, message, padding.PKCS1v15(), hash_for(key) or hashes.SHA256())
        case ed25519.Ed25519PublicKey() | mldsa.MLDSA44PublicKey():
            key.verify(signature, message)
        case mldsa.MLDSA65PublicKey() | mldsa.MLDSA87PublicKey():
            key.verify(signature, message)
