"""Public keys as JSON Web Keys (RFC 7517, RFC 7518 6, RFC 8037 2) and their thumbprints (RFC 7638)."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ca.identifiers import Thumbprint

_CURVES = {"secp256r1": ("P-256", 32), "secp384r1": ("P-384", 48), "secp521r1": ("P-521", 66)}


def jwk(key: Any) -> dict[str, str]:
    """The members that a thumbprint is over (RFC 7638 3.2), in their order. Raises `ValueError` for other keys."""
    match key:
        case ec.EllipticCurvePublicKey() if key.curve.name in _CURVES:
            name, octets = _CURVES[key.curve.name]
            point = key.public_numbers()
            return {"crv": name, "kty": "EC", "x": _number(point.x, octets), "y": _number(point.y, octets)}
        case ed25519.Ed25519PublicKey():
            return {"crv": "Ed25519", "kty": "OKP", "x": _encoded(key.public_bytes_raw())}
        case rsa.RSAPublicKey():
            numbers = key.public_numbers()
            return {"e": _number(numbers.e), "kty": "RSA", "n": _number(numbers.n)}
    raise ValueError("a key that no JWK is defined for here")


def thumbprint(key: Any) -> Thumbprint:
    """SHA-256 of the canonical JWK: a DPoP proof's `jkt` (RFC 9449 6.1). Raises `ValueError`."""
    return Thumbprint.of(json.dumps(jwk(key), separators=(",", ":")).encode())


def _number(value: int, octets: int = 0) -> str:
    return _encoded(value.to_bytes(octets or (value.bit_length() + 7) // 8, "big"))


def _encoded(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode()
