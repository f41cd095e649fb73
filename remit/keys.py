"""The agent's key and its certificate signing request (RFC 2986)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

# Whatever a key may be found in, and how its public half is had from that.
_READERS: tuple[Callable[[bytes], Any], ...] = (
    lambda raw: x509.load_pem_x509_certificate(raw).public_key(),
    lambda raw: x509.load_der_x509_certificate(raw).public_key(),
    lambda raw: x509.load_pem_x509_csr(raw).public_key(),
    lambda raw: x509.load_der_x509_csr(raw).public_key(),
    load_pem_public_key,
    load_der_public_key,
    lambda raw: load_pem_private_key(raw, None).public_key(),
    lambda raw: load_der_private_key(raw, None).public_key(),
)


@dataclass(frozen=True, slots=True)
class AgentKey:
    """A P-256 key that never leaves its holder but by `pem`, for a file of mode 0600."""

    private: ec.EllipticCurvePrivateKey

    @classmethod
    def generate(cls) -> AgentKey:
        """A new key."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @property
    def pem(self) -> bytes:
        """PKCS #8 in PEM, not encrypted."""
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def csr(self) -> str:
        """A request in PEM with an empty subject: the authority computes every name itself."""
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        return builder.sign(self.private, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def spki_sha256(raw: bytes) -> str | None:
    """SHA-256 of the SubjectPublicKeyInfo of a key, CSR or certificate in PEM or DER, in hex; None for another file.

    Of several certificates it is the first one's: the leaf's.
    """
    for read in _READERS:
        try:
            key = read(raw)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            continue
        return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
    return None
