"""A small CA in memory, of another hand than the authority's code: lists and answers as they should be, or not."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime(2026, 7, 1, 12, 0, 0, tzinfo=UTC)
LIFE = timedelta(hours=1)
ORIGIN = "http://status.example"
FULL, SHARD, DELTA = (f"{ORIGIN}/crl/issuing-1{part}.crl" for part in ("", "/1", "/delta"))
_USAGE = dict.fromkeys(
    (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    ),
    False,
)


@dataclass
class Party:
    """A name, a key and a certificate."""

    name: x509.Name
    key: Any
    certificate: x509.Certificate


def party(name: str, issuer: Party | None = None, *, ca: bool = False, key: Any = None, **changes: Any) -> Party:
    """Someone whom `issuer` certified, or nobody but itself."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.name if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(changes.get("begins", NOW - timedelta(days=1)))
        .not_valid_after(changes.get("ends", NOW + timedelta(days=6)))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if ca:
        usage = {**_USAGE, "key_cert_sign": True, "crl_sign": changes.get("crl_sign", True)}
        builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
    for extension in changes.get("extensions", ()):
        builder = builder.add_extension(extension, critical=False)
    signer = issuer.key if issuer else key
    return Party(subject, key, builder.sign(signer, _digest(signer)))


OCSP_SIGNING = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])


@dataclass
class House:
    """A root, an issuing CA, its responder and a leaf."""

    key: Any = None
    root: Party = field(init=False)
    issuing: Party = field(init=False)
    responder: Party = field(init=False)
    leaf: Party = field(init=False)

    def __post_init__(self) -> None:
        self.root = party("root", ca=True)
        self.issuing = party("issuing", self.root, ca=True, key=self.key)
        self.responder = party("responder", self.issuing, extensions=(OCSP_SIGNING,))
        self.leaf = party("leaf", self.issuing)

    def crl(self, *, issuer: Party | None = None, number: int | None = 7, **changes: Any) -> bytes:
        """A full list; with `point` a shard's, with `delta` a delta."""
        issuer = issuer or self.issuing
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(changes.get("name", issuer.name))
            .last_update(changes.get("begins", NOW))
            .next_update(changes.get("begins", NOW) + LIFE)
        )
        key_of: Party = changes.get("key_of", issuer)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key_of.key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        if number is not None:
            builder = builder.add_extension(x509.CRLNumber(number), critical=False)
        if "point" in changes:
            builder = builder.add_extension(_point(changes["point"]), critical=True)
        if "delta" in changes:
            builder = builder.add_extension(x509.DeltaCRLIndicator(changes["delta"]), critical=True)
        if "unknown" in changes:
            odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.9"), b"\x05\x00")
            builder = builder.add_extension(odd, critical=True)
        for serial in changes.get("serials", ()):
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW).build()
            builder = builder.add_revoked_certificate(revoked)
        key = changes.get("signer", issuer).key
        return builder.sign(key, _digest(key)).public_bytes(Encoding.DER)

    def answer(self, *, nonce: bytes | None = None, **changes: Any) -> bytes:
        """An OCSP answer about the leaf."""
        responder: Party = changes.get("responder", self.responder)
        begins = changes.get("begins", NOW)
        revoked = changes.get("status") is ocsp.OCSPCertStatus.REVOKED
        builder = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                cert=changes.get("about", self.leaf).certificate,
                issuer=self.issuing.certificate,
                algorithm=changes.get("algorithm", hashes.SHA1()),
                cert_status=changes.get("status", ocsp.OCSPCertStatus.GOOD),
                this_update=begins,
                next_update=begins + timedelta(minutes=1) if changes.get("ends", True) else None,
                revocation_time=NOW if revoked else None,
                revocation_reason=None,
            )
            .responder_id(changes.get("identified", ocsp.OCSPResponderEncoding.HASH), responder.certificate)
        )
        if changes.get("carries", True):
            builder = builder.certificates([responder.certificate])
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        key = responder.key
        return builder.sign(key, _digest(key)).public_bytes(Encoding.DER)


def _point(url: str) -> x509.IssuingDistributionPoint:
    return x509.IssuingDistributionPoint([x509.UniformResourceIdentifier(url)], None, False, False, None, False, False)


def _digest(key: Any) -> Any:
    return hashes.SHA256() if isinstance(key, ec.EllipticCurvePrivateKey) or hasattr(key, "private_numbers") else None
