"""Public keys: which ones an agent may bring, and how each kind signs and verifies.

The policy is an allow-list. Elliptic curves are P-256 and P-384 (cryptography loads many more),
Edwards is Ed25519, RSA only by policy. With ML-DSA a CA signs; no agent brings such a key.
"""

from __future__ import annotations

from collections.abc import Container

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ca.identifiers import Thumbprint
from ca.pki import weak_rsa
from ca.refusals import Reason, Refused

__all__ = [
    "InvalidSignature",
    "PublicKey",
    "admit",
    "hash_for",
    "narrow",
    "not_certifiable",
    "pem",
    "spki",
    "thumbprint",
    "verify",
]

MlDsaPublicKey = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey | MlDsaPublicKey

_CURVE_HASHES: dict[str, hashes.HashAlgorithm] = {"secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384()}

_ED25519_PRIME = 2**255 - 19
# The y coordinates of the eight points whose order divides 8: whoever brings one proves possession of nothing, because
# a signature that verifies with it can be made without a private key.
_ED25519_SMALL_ORDER = frozenset(
    {
        0,
        1,
        _ED25519_PRIME - 1,
        2707385501144840649318225287225658788936804267575313519463743609750303402022,
        55188659117513257062467267217118295137698188065244968500265048394206261417927,
    }
)


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
            raise _refused("The key must be on P-256 or P-384, or Ed25519; RSA where the policy allows it.")


def admit(key: PublicKey, *, rsa_allowed: bool, known: Container[PublicKey] = ()) -> PublicKey:
    """The subscriber key policy; `known` are the keys whose private half is public (CA/Browser Forum BR 6.1.1.3).

    Each check is bounded: no key costs more than a few hundred divisions or square roots of its own size.
    Raises `Refused(KEY_REFUSED)` with what to bring instead.
    """
    match key:
        case rsa.RSAPublicKey():
            _admit_rsa(key.public_numbers(), rsa_allowed=rsa_allowed)
        case ed25519.Ed25519PublicKey():
            _admit_ed25519(key.public_bytes_raw())
        case ec.EllipticCurvePublicKey():
            pass  # The library loads points of the curve alone, and never the one at infinity.
        case _:
            raise _refused("ML-DSA keys are not accepted here; bring P-256, P-384 or Ed25519.")
    if key in known:
        raise _refused("The private half of this key is publicly known; make a new key.")
    return key


def not_certifiable() -> Refused:
    """The one answer to a key that is blocked, ours, or somebody else's: which of them, nobody learns."""
    return _refused("This key cannot be certified; make a new one.")


def _admit_rsa(numbers: rsa.RSAPublicNumbers, *, rsa_allowed: bool) -> None:
    if not rsa_allowed:
        raise _refused("RSA keys are not accepted here; bring P-256, P-384 or Ed25519.")
    fault = weak_rsa.fault(numbers.n, numbers.e)
    if fault is not None:
        raise _refused(fault)


def _admit_ed25519(octets: bytes) -> None:
    """RFC 8032 5.1.3: y is below the field's prime; the highest bit is the sign of x."""
    y = int.from_bytes(octets, "little") & (2**255 - 1)
    if y >= _ED25519_PRIME or y in _ED25519_SMALL_ORDER:
        raise _refused("This Ed25519 key is not a point that a key pair has; make a new key.")


def _refused(sentence: str) -> Refused:
    return Refused(Reason.KEY_REFUSED, sentence)


def spki(key: PublicKey) -> bytes:
    """The key's SubjectPublicKeyInfo in DER (RFC 5280 4.1.2.7)."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def pem(key: PublicKey) -> bytes:
    """The same in PEM (RFC 7468 13)."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


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
