"""Lists of known keys, as badkeys publishes them: 15 octets of a SHA-256 and the number of a collection."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ca.pki.keys import PublicKey


def record(digest: bytes) -> bytes:
    return digest[:15] + b"\x01"


def listed(*keys: PublicKey, others: Sequence[bytes] = ()) -> bytes:
    digests = [sha256(_number(key)).digest() for key in keys] + [sha256(one).digest() for one in others]
    return b"".join(sorted(map(record, digests)))


def _number(key: PublicKey) -> bytes:
    match key:
        case rsa.RSAPublicKey():
            number = key.public_numbers().n
        case ec.EllipticCurvePublicKey():
            number = key.public_numbers().x
        case ed25519.Ed25519PublicKey():
            number = int.from_bytes(key.public_bytes_raw(), "big")
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
