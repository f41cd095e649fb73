"""CORE. An OCSP request: a stranger's bytes to the certificates that are asked about (RFC 6960 4.1).

The bytes are read once, by declarations that Rust enforces. They are strict DER but for two habits
of real clients: a DEFAULT value written out, and several CertIDs in one request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha1, sha256, sha384, sha512
from typing import Annotated, Any

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import OCSPExtensionOID

MAX_OCTETS = 4096
"""The longest request that is read: sixteen CertIDs of any hash here, a nonce, and as much again."""

MAX_CERTIFICATES = 16
"""How many certificates one request may ask about: each costs a row."""

IssuerHash = tuple[x509.ObjectIdentifier, bytes, bytes]
"""How a CertID names its issuer: the hash algorithm, the hash of its name, the hash of its key."""

_HASHES: dict[x509.ObjectIdentifier, Callable[[bytes], Any]] = {
    # RFC 5019 2.1.1 clients know SHA-1 alone. It names an issuer here and vouches for nothing.
    x509.ObjectIdentifier("1.3.14.3.2.26"): lambda octets: sha1(octets, usedforsecurity=False),
    x509.ObjectIdentifier("2.16.840.1.101.3.4.2.1"): sha256,
    x509.ObjectIdentifier("2.16.840.1.101.3.4.2.2"): sha384,
    x509.ObjectIdentifier("2.16.840.1.101.3.4.2.3"): sha512,
}


class Malformed(Exception):  # noqa: N818 (an answer of the protocol, RFC 6960 2.3)
    """These bytes are not an OCSP request that this responder can read."""


@dataclass(frozen=True, slots=True)
class CertificateId:
    """One certificate asked about. `der` is the CertID as it came: the answer repeats it octet for octet."""

    der: bytes
    issuer: IssuerHash
    serial: int


@dataclass(frozen=True, slots=True)
class Request:
    """At least one certificate, and the nonce that the answer must carry, if there is one."""

    certificates: tuple[CertificateId, ...]
    nonce: bytes | None


# An OPTIONAL of ANY has no declaration of its own; a choice with one has.
_Any = asn1.Null | asn1.TLV


@asn1.sequence
class _Algorithm:
    oid: x509.ObjectIdentifier
    # RFC 3279 2.2.1, RFC 4055 2.1: a hash has no parameters, which some write as NULL.
    parameters: asn1.Null | None


@asn1.sequence
class _CertId:
    algorithm: _Algorithm
    name_hash: bytes
    key_hash: bytes
    serial: int


@asn1.sequence
class _Extension:
    oid: x509.ObjectIdentifier
    critical: bool | None
    value: bytes


@asn1.sequence
class _Single:
    certificate: asn1.TLV
    extensions: Annotated[list[_Extension] | None, asn1.Explicit(0)]


@asn1.sequence
class _TbsRequest:
    version: Annotated[int | None, asn1.Explicit(0)]
    requestor: Annotated[_Any | None, asn1.Explicit(1)]
    singles: list[_Single]
    extensions: Annotated[list[_Extension] | None, asn1.Explicit(2)]


@asn1.sequence
class _OcspRequest:
    tbs: _TbsRequest
    # RFC 6960 4.1.2: who asks does not matter here, so a signature is neither needed nor checked.
    signature: Annotated[list[asn1.TLV] | None, asn1.Explicit(0)]


def parse(der: bytes) -> Request:
    """Reads a DER OCSPRequest of at most `MAX_OCTETS`. Raises `Malformed`."""
    if len(der) > MAX_OCTETS:
        raise Malformed("longer than a request may be")
    try:
        tbs = asn1.decode_der(_OcspRequest, der).tbs
        certificates = tuple(_certificate(single) for single in tbs.singles[: MAX_CERTIFICATES + 1])
        nonce = _nonce(tbs.extensions or ())
    except ValueError as error:
        raise Malformed("not the DER of an OCSPRequest") from error
    if tbs.version:
        raise Malformed("not version 1")
    if not 1 <= len(certificates) <= MAX_CERTIFICATES:
        raise Malformed("too few or too many certificates")
    return Request(certificates, nonce)


def issuer_hashes(issuer: x509.Certificate) -> Iterator[IssuerHash]:
    """Every way in which a CertID may name this CA (RFC 6960 4.1.1): SHA-1, SHA-256, SHA-384, SHA-512."""
    name = issuer.subject.public_bytes()
    key = _key_octets(issuer)
    for algorithm, digest in _HASHES.items():
        yield algorithm, digest(name).digest(), digest(key).digest()


@asn1.sequence
class _SubjectPublicKeyInfo:
    algorithm: asn1.TLV
    key: asn1.BitString


def _key_octets(certificate: x509.Certificate) -> bytes:
    """The value of the subject's BIT STRING, without tag, length and count of unused bits (RFC 6960 4.1.1)."""
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return asn1.decode_der(_SubjectPublicKeyInfo, spki).key.as_bytes()


def key_hash(certificate: x509.Certificate) -> bytes:
    """SHA-1 of the subject's key: how a responder names itself by its key (RFC 6960 4.2.1)."""
    return sha1(_key_octets(certificate), usedforsecurity=False).digest()


def _certificate(single: _Single) -> CertificateId:
    _refuse_critical(single.extensions or ())
    parsed = single.certificate.parse(_CertId)
    return CertificateId(
        der=asn1.encode_der(single.certificate),
        issuer=(parsed.algorithm.oid, parsed.name_hash, parsed.key_hash),
        serial=parsed.serial,
    )


def _nonce(extensions: Iterable[_Extension]) -> bytes | None:
    nonces = [extension for extension in extensions if extension.oid == OCSPExtensionOID.NONCE]
    _refuse_critical(extension for extension in extensions if extension.oid != OCSPExtensionOID.NONCE)
    if not nonces:
        return None
    [only] = nonces
    nonce = asn1.decode_der(bytes, only.value)
    if not 1 <= len(nonce) <= 128:  # RFC 9654 2.1: both ends MUST be refused as malformed.
        raise Malformed("a nonce has 1 to 128 octets")
    return nonce


def _refuse_critical(extensions: Iterable[_Extension]) -> None:
    """RFC 6960 4.4: what is not understood is passed over, unless it is critical."""
    if any(extension.critical for extension in extensions):
        raise Malformed("a critical extension that is not understood")
