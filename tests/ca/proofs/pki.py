"""Another CA's certificates, and the JWTs that their holders make."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from tests.ca.proofs.issuer import AUDIENCE, NOW, signed

CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Holder:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: PrivateKey


def certificate(
    subject: str,
    issuer: Holder | None = None,
    *,
    key: PrivateKey | None = None,
    ca: bool = False,
    names: Sequence[x509.GeneralName] = (),
    usages: Sequence[x509.ObjectIdentifier] = CLIENT,
    signs: bool = True,
    begins: datetime = NOW - timedelta(hours=1),
    ends: datetime = NOW + timedelta(days=1),
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> Holder:
    """A certificate of the issuer, or of itself."""
    key = key or new_key()
    by = issuer.key if issuer else key
    name = x509.Name.from_rfc4514_string(subject)
    usage = dict.fromkeys(
        ("content_commitment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"), False
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.certificate.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=signs and not ca, key_encipherment=not signs, key_cert_sign=ca, crl_sign=ca, **usage
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
    )
    if usages and not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not subject)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    hash_with = None if isinstance(by, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Holder(builder.sign(by, hash_with), key)


def jwk(key: PrivateKey) -> Key:
    """The holder's key as joserfc knows it."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    kind = {ec.EllipticCurvePrivateKey: ECKey, rsa.RSAPrivateKey: RSAKey, ed25519.Ed25519PrivateKey: OKPKey}
    return next(to for of, to in kind.items() if isinstance(key, of)).import_key(pem)


def assertion(
    holder: Holder,
    *above: x509.Certificate,
    alg: str = "ES256",
    now: datetime = NOW,
    key: PrivateKey | None = None,
    header: dict[str, Any] | None = None,
    **changed: Any,
) -> str:
    """The JWT that a holder makes for itself; a claim of None is left out."""
    chain = [b64encode(one.public_bytes(Encoding.DER)).decode() for one in (holder.certificate, *above)]
    begun = int(now.timestamp())
    made = {"iss": "x5c:fleet", "aud": AUDIENCE, "iat": begun, "exp": begun + 120, "jti": "1", **changed}
    claims = {name: value for name, value in made.items() if value is not None}
    return signed(claims, jwk(key or holder.key), alg, {"x5c": chain, **(header or {})}, kid=False)


def attribute(name: str) -> x509.Name:
    """A subject of a common name alone."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
