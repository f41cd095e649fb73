"""The little of JOSE that an agent needs: ES256 over JSON with its certificate's key (RFC 7515, RFC 7518)."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

_COORDINATE = 32  # octets, RFC 7518 6.2.1.2


def base64url(octets: bytes) -> str:
    """Without padding (RFC 7515 2)."""
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


class Signer:
    """A P-256 key and its chain, both PEM, that sign JWTs."""

    def __init__(self, key: bytes, chain: bytes) -> None:
        private = load_pem_private_key(key, None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)  # noqa: S101 (`remit.keys` makes no other)
        self._private = private
        self._chain = chain

    @property
    def jwk(self) -> dict[str, str]:
        """The public key (RFC 7517)."""
        point = self._private.public_key().public_numbers()
        x, y = (base64url(number.to_bytes(_COORDINATE)) for number in (point.x, point.y))
        return {"crv": "P-256", "kty": "EC", "x": x, "y": y}

    @property
    def thumbprint(self) -> str:
        """Of the public key (RFC 7638)."""
        return base64url(sha256(_json(self.jwk)).digest())

    def named(self) -> dict[str, Any]:
        """The header's members that say which key and certificate it is (RFC 7515 4.1.4, 4.1.8)."""
        return {"kid": self.thumbprint, "x5t#S256": base64url(sha256(self._ders()[0]).digest())}

    def enclosed(self) -> dict[str, Any]:
        """The header's member that is the chain itself (RFC 7515 4.1.6): for who has no other way to it."""
        return {"x5c": [b64encode(der).decode() for der in self._ders()]}

    def sign(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        """A JWT in the compact form, by ES256."""
        parts = (_json({"alg": "ES256", **header}), _json(claims))
        signed = ".".join(base64url(part) for part in parts)
        r, s = decode_dss_signature(self._private.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{base64url(r.to_bytes(_COORDINATE) + s.to_bytes(_COORDINATE))}"

    def _ders(self) -> list[bytes]:
        return [one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(self._chain)]


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
