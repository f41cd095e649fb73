"""A certificate's fields to its ToBeSigned (RFC 5280 4.1 and 4.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from hashlib import sha1
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509.oid import AuthorityInformationAccessOID

from ca.identifiers import Serial, Thumbprint
from ca.pki.keys import PublicKey, spki
from ca.pki.profile import PROFILES, Kind, Profile, Validity
from ca.pki.signed import ToBeSigned, algorithm_identifier

MAX_SHARDS = 1024
"""Over how many CRLs the certificates of one issuer may be spread."""

NO_REV_AVAIL = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.56"), b"\x05\x00")
"""noRevAvail (RFC 9608 2), a NULL: relying parties need ask nobody whether this certificate was revoked."""

_GENERALIZED_FROM = 2050


@dataclass(frozen=True, slots=True)
class Pointers:
    """Where the world finds an issuer's certificate, its CRLs and its OCSP responder: plain http URLs.

    `crl` is what the URLs of all its lists begin with.
    """

    ca_issuers: str
    crl: str
    ocsp: str

    def list(self, number: int) -> str:
        """The URL of the full list, 0, or of a shard, from 1."""
        return f"{self.crl}/{number}.crl" if number else f"{self.crl}.crl"

    @property
    def delta(self) -> str:
        """The URL of the full list's delta (RFC 5280 5.2.4)."""
        return f"{self.crl}/delta.crl"


@dataclass(frozen=True, slots=True)
class Issuer:
    """A CA that can issue: its stable id, its certificate, its key's public half, and its pointers.

    `dn` is its distinguished name (RFC 4514).
    """

    id: str
    certificate: x509.Certificate
    public_key: PublicKey
    pointers: Pointers
    dn: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dn", self.certificate.subject.rfc4514_string())

    def __hash__(self) -> int:
        # A public key has none of its own, and what is encoded once for an issuer is found by it.
        return hash(self.id)


@dataclass(frozen=True, slots=True)
class Holder:
    """Whom a certificate names, and the key it names them by; `spki` is the key's SubjectPublicKeyInfo."""

    subject: x509.Name
    public_key: PublicKey
    alternative_names: tuple[x509.GeneralName, ...] = ()
    spki: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "spki", spki(self.public_key))

    @property
    def key_thumbprint(self) -> Thumbprint:
        """SHA-256 over `spki`."""
        return Thumbprint.of(self.spki)


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything that a certificate says beyond its issuer and its serial: what policy decided.

    `crl` is the number of the list that it names, where its profile names one; which shard, follows from
    the serial. None: it has no pointers to its status, and says so (RFC 9608).
    """

    kind: Kind
    holder: Holder
    validity: Validity
    private: tuple[x509.UnrecognizedExtension, ...] = ()
    name_constraints: x509.NameConstraints | None = None
    crl: int | None = 0


@asn1.sequence
class _Validity:
    not_before: asn1.UTCTime | asn1.GeneralizedTime
    not_after: asn1.UTCTime | asn1.GeneralizedTime


@asn1.sequence
class _Extension:
    oid: x509.ObjectIdentifier
    critical: Annotated[bool, asn1.Default(False)]
    value: bytes


@asn1.sequence
class _SubjectPublicKeyInfo:
    algorithm: asn1.TLV
    key: asn1.BitString


@asn1.sequence
class _TbsCertificate:
    """RFC 5280 4.1, version 3 without the unique identifiers."""

    version: Annotated[int, asn1.Explicit(0)]
    serial: int
    signature: asn1.TLV
    issuer: asn1.TLV
    validity: _Validity
    subject: asn1.TLV
    public_key: asn1.TLV
    extensions: Annotated[list[_Extension], asn1.Explicit(3)]


def to_be_signed(contents: Contents, serial: Serial, issuer: Issuer | None) -> ToBeSigned:
    """The exact TBSCertificate. `issuer` is None for the root, which signs itself.

    Byte for byte what the library's builder makes (a test holds them against each other), in a fifth of its time:
    what is the same in all certificates of a kind, an issuer and a list is encoded once.
    """
    subject = _tlv(contents.holder.subject.public_bytes())
    common = _common(contents.kind, issuer, contents.crl)
    algorithm = algorithm_identifier(contents.holder.public_key) if common.algorithm is None else common.algorithm
    tbs = _TbsCertificate(
        version=2,
        serial=serial.number,
        signature=_tlv(algorithm),
        issuer=common.issuer or subject,
        validity=_Validity(
            not_before=_time(contents.validity.not_before), not_after=_time(contents.validity.not_after)
        ),
        subject=subject,
        public_key=_tlv(contents.holder.spki),
        extensions=[
            *common.before,
            *(_extension(value, critical) for value, critical in _own_extensions(contents)),
            *common.after,
            *(_extension(value, False) for value in contents.private),
        ],
    )
    return ToBeSigned(asn1.encode_der(tbs), algorithm)


@dataclass(frozen=True, slots=True)
class _Common:
    """What all certificates of one kind, issuer and list share. The root has neither an algorithm nor an issuer yet."""

    algorithm: bytes | None
    issuer: asn1.TLV | None
    before: tuple[_Extension, ...]
    after: tuple[_Extension, ...]


# One for each shard, since nearly all certificates are agents', and a few for all else.
@lru_cache(maxsize=MAX_SHARDS + 64)
def _common(kind: Kind, issuer: Issuer | None, crl: int | None) -> _Common:
    profile = PROFILES[kind]
    constraints = x509.BasicConstraints(ca=profile.certificate_authority, path_length=profile.path_length)
    before: list[tuple[x509.ExtensionType, bool]] = [(constraints, True), (_key_usage(profile), True)]
    after: list[tuple[x509.ExtensionType, bool]] = []
    if profile.purpose is not None:
        after.append((x509.ExtendedKeyUsage([profile.purpose]), False))
    if profile.no_check:
        after.append((x509.OCSPNoCheck(), False))
    if issuer is not None:
        after += _pointers(profile, issuer, crl)
    return _Common(
        algorithm=algorithm_identifier(issuer.public_key) if issuer else None,
        issuer=_tlv(issuer.certificate.subject.public_bytes()) if issuer else None,
        before=tuple(_extension(value, critical) for value, critical in before),
        after=tuple(_extension(value, critical) for value, critical in after),
    )


def _own_extensions(contents: Contents) -> Iterator[tuple[x509.ExtensionType, bool]]:
    holder = contents.holder
    yield x509.SubjectKeyIdentifier(_key_identifier(holder.spki)), False
    if holder.alternative_names:
        yield x509.SubjectAlternativeName(holder.alternative_names), False
    if contents.name_constraints is not None:
        yield contents.name_constraints, True


def _key_identifier(spki: bytes) -> bytes:
    """RFC 5280 4.2.1.2, method 1: SHA-1 of the key's bits."""
    return sha1(asn1.decode_der(_SubjectPublicKeyInfo, spki).key.as_bytes(), usedforsecurity=False).digest()


def _pointers(profile: Profile, issuer: Issuer, crl: int | None) -> list[tuple[x509.ExtensionType, bool]]:
    """Authority key identifier, AIA, and CRL distribution point or noRevAvail.

    RFC 5280 4.2.1.1, 4.2.2.1, 4.2.1.13; RFC 9608 3: noRevAvail stands with no pointer to OCSP or a list.
    """
    key_identifier = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    access = [_access(AuthorityInformationAccessOID.CA_ISSUERS, issuer.pointers.ca_issuers)]
    if profile.points_to_ocsp and crl is not None:
        access.insert(0, _access(AuthorityInformationAccessOID.OCSP, issuer.pointers.ocsp))
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_identifier), False),
        (x509.AuthorityInformationAccess(access), False),
    ]
    if crl is None:
        extensions.append((NO_REV_AVAIL, False))
    elif profile.points_to_crl:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(issuer.pointers.list(crl))], None, None, None)
        extensions.append((x509.CRLDistributionPoints([point]), False))
    return extensions


def _access(method: x509.ObjectIdentifier, url: str) -> x509.AccessDescription:
    return x509.AccessDescription(method, x509.UniformResourceIdentifier(url))


def _key_usage(profile: Profile) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not profile.certificate_authority,
        key_cert_sign=profile.certificate_authority,
        crl_sign=profile.certificate_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _extension(value: x509.ExtensionType, critical: bool) -> _Extension:
    return _Extension(oid=value.oid, critical=critical, value=value.public_bytes())


def _time(moment: datetime) -> asn1.UTCTime | asn1.GeneralizedTime:
    """RFC 5280 4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050."""
    whole = moment.replace(microsecond=0)
    return asn1.UTCTime(whole) if whole.year < _GENERALIZED_FROM else asn1.GeneralizedTime(whole)


def _tlv(der: bytes) -> asn1.TLV:
    return asn1.decode_der(asn1.TLV, der)
