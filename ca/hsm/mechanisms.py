"""How each kind of key signs through PKCS#11 so that the result is an X.509 signature. Pure: no module is called.

    key       mechanism (PKCS #11 v3.0)       the module is given     its output becomes
    P-256     CKM_ECDSA, 2.3.6                SHA-256 of the message  Ecdsa-Sig-Value (RFC 3279 2.2.3)
    P-384     CKM_ECDSA, 2.3.6                SHA-384 of the message  Ecdsa-Sig-Value
    Ed25519   CKM_EDDSA, 2.3.15               the message             itself (RFC 8410 6)
    RSA       CKM_SHA256_RSA_PKCS, 2.1.11     the message             itself (RFC 8017 8.2)
    ML-DSA    CKM_ML_DSA (v3.2), no context   the message             itself (RFC 9881 3)

The digest for ECDSA is made here because many modules, SoftHSM among them, have no ECDSA with a hash.
An output of any other size than the key's is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256, sha384

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pkcs11 import Mechanism

from ca.pki.keys import MlDsaPublicKey, PublicKey


@dataclass(frozen=True, slots=True)
class Procedure:
    """A mechanism, what the module is given for a message, and what its output becomes."""

    mechanism: Mechanism
    prepare: Callable[[bytes], bytes]
    finish: Callable[[bytes], bytes]


def procedure_for(public_key: PublicKey) -> Procedure:
    """The one way in which this authority signs with the private half of `public_key`."""
    match public_key:
        case ec.EllipticCurvePublicKey() if public_key.curve.name == "secp384r1":
            return _P384
        case ec.EllipticCurvePublicKey():
            return _P256
        case ed25519.Ed25519PublicKey():
            return _ED25519
        case rsa.RSAPublicKey():
            return _whole(Mechanism.SHA256_RSA_PKCS, (public_key.key_size + 7) // 8)
        case _:
            return _ml_dsa(public_key)


def ecdsa_der(raw: bytes, octets: int) -> bytes:
    """r and s of `octets` each, joined as PKCS#11 returns them, as a DER Ecdsa-Sig-Value.

    Raises `ValueError` for any other length: half of a signature must not be guessed.
    """
    if len(raw) != 2 * octets:
        raise ValueError(f"an ECDSA signature of {len(raw)} octets where {2 * octets} were due")
    return encode_dss_signature(int.from_bytes(raw[:octets], "big"), int.from_bytes(raw[octets:], "big"))


def _ml_dsa(public_key: MlDsaPublicKey) -> Procedure:
    match public_key:
        case mldsa.MLDSA44PublicKey():
            return _ML_DSA_44
        case mldsa.MLDSA65PublicKey():
            return _ML_DSA_65
        case mldsa.MLDSA87PublicKey():
            return _ML_DSA_87


def _whole(mechanism: Mechanism, octets: int) -> Procedure:
    """The module is given the message, and its output of `octets` is the signature."""

    def finish(raw: bytes) -> bytes:
        if len(raw) != octets:
            raise ValueError(f"a signature of {len(raw)} octets where {octets} were due")
        return raw

    return Procedure(mechanism, bytes, finish)


_P256 = Procedure(Mechanism.ECDSA, lambda message: sha256(message).digest(), lambda raw: ecdsa_der(raw, 32))
_P384 = Procedure(Mechanism.ECDSA, lambda message: sha384(message).digest(), lambda raw: ecdsa_der(raw, 48))
_ED25519 = _whole(Mechanism.EDDSA, 64)
# FIPS 204, table 2.
_ML_DSA_44 = _whole(Mechanism.ML_DSA, 2420)
_ML_DSA_65 = _whole(Mechanism.ML_DSA, 3309)
_ML_DSA_87 = _whole(Mechanism.ML_DSA, 4627)
