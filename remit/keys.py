"""The agent's key and its certificate signing request (RFC 2986)."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


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
