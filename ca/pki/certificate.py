"""A certificate's fields to its ToBeSigned (RFC 5280 4.1 and 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from ca.identifiers import Serial
from ca.pki.keys import PublicKey
from ca.pki.profile import PROFILES, Kind, Profile, Validity
from ca.pki.signed import ToBeSigned, draft


@dataclass(frozen=True, slots=True)
class Pointers:
    """Where the world finds an issuer's certificate, its CRL and its OCSP responder: plain http URLs."""

    ca_issuers: str
    crl: str
    ocsp: str


@dataclass(frozen=True, slots=True)
class Issuer:
    """A CA that can issue: its stable id, its certificate, its key's public half, and its pointers."""

    id: str
    certificate: x509.Certificate
    public_key: PublicKey
    pointers: Pointers


@dataclass(frozen=True, slots=True)
class Holder:
    """Whom a certificate names, and the key it names them by."""

    subject: x509.Name
    public_key: PublicKey
    alternative_names: tuple[x509.GeneralName, ...] = ()


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything that a certificate says beyond its issuer: what policy decided, before the serial is drawn."""

    kind: Kind
    holder: Holder
    validity: Validity
    private: tuple[x509.UnrecognizedExtension, ...] = ()
    name_constraints: x509.NameConstraints | None = None


def to_be_signed(contents: Contents, serial: Serial, issuer: Issuer | None) -> ToBeSigned:
    """The exact TBSCertificate. `issuer` is None for the root, which signs itself."""
    profile, holder = PROFILES[contents.kind], contents.holder
    builder = (
        x509.CertificateBuilder()
        .subject_name(holder.subject)
        .issuer_name(issuer.certificate.subject if issuer else holder.subject)
        .public_key(holder.public_key)
        .serial_number(serial.number)
        .not_valid_before(contents.validity.not_before)
        .not_valid_after(contents.validity.not_after)
    )
    for value, critical in _extensions(contents, profile, issuer):
        builder = builder.add_extension(value, critical)
    return draft(builder, issuer.public_key if issuer else holder.public_key)


def _extensions(
    contents: Contents, profile: Profile, issuer: Issuer | None
) -> Sequence[tuple[x509.ExtensionType, bool]]:
    holder = contents.holder
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=profile.certificate_authority, path_length=profile.path_length), True),
        (_key_usage(profile), True),
        (x509.SubjectKeyIdentifier.from_public_key(holder.public_key), False),
    ]
    if profile.purpose is not None:
        extensions.append((x509.ExtendedKeyUsage([profile.purpose]), False))
    if holder.alternative_names:
        extensions.append((x509.SubjectAlternativeName(holder.alternative_names), False))
    if contents.name_constraints is not None:
        extensions.append((contents.name_constraints, True))
    if profile.no_check:
        extensions.append((x509.OCSPNoCheck(), False))
    if issuer is not None:
        extensions += _pointers(profile, issuer)
    extensions += [(extension, False) for extension in contents.private]
    return extensions


def _pointers(profile: Profile, issuer: Issuer) -> list[tuple[x509.ExtensionType, bool]]:
    """Authority key identifier, AIA and CRL distribution point (RFC 5280 4.2.1.1, 4.2.2.1, 4.2.1.13)."""
    key_identifier = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    access = [_access(AuthorityInformationAccessOID.CA_ISSUERS, issuer.pointers.ca_issuers)]
    if profile.points_to_ocsp:
        access.insert(0, _access(AuthorityInformationAccessOID.OCSP, issuer.pointers.ocsp))
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_identifier), False),
        (x509.AuthorityInformationAccess(access), False),
    ]
    if profile.points_to_crl:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(issuer.pointers.crl)], None, None, None)
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
