"""The check before a signature: what was linted is byte for byte what is signed.

Only `lint_certificate`, `lint_crl` and `lint_stored` make a `Linted`, and only a `Linted` reaches the signer.
Each reads the bytes anew with a parser that did not make them, and runs one cited rule a function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, TypeVar

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509.oid import AuthorityInformationAccessOID

from ca.identifiers import Serial
from ca.pki.certificate import NO_REV_AVAIL, Contents, Issuer
from ca.pki.extensions import MAX_OCTETS
from ca.pki.keys import spki
from ca.pki.profile import BACKDATE, PROFILES, Kind
from ca.pki.signed import ToBeSigned, assemble
from ca.refusals import Reason, Refused

_PLACEHOLDER = b"\x00"
_CRITICAL = frozenset({x509.BasicConstraints, x509.KeyUsage, x509.NameConstraints})
_LINTED = _CRITICAL | {
    *(x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier, x509.ExtendedKeyUsage, x509.SubjectAlternativeName),
    *(x509.AuthorityInformationAccess, x509.CRLDistributionPoints, x509.OCSPNoCheck, x509.UnrecognizedExtension),
}
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class Linted:
    """Bytes that passed every rule: the only thing that may be signed."""

    to_be_signed: ToBeSigned


@asn1.sequence
class _TbsCertificate:
    """RFC 5280 4.1, as far as this authority's certificates have it."""

    version: Annotated[int | None, asn1.Explicit(0)]
    serial: int
    signature: asn1.TLV
    issuer: asn1.TLV
    validity: asn1.TLV
    subject: asn1.TLV
    public_key: asn1.TLV
    extensions: Annotated[asn1.TLV, asn1.Explicit(3)]


class _Case:
    """What a rule about a certificate looks at: the bytes, read anew, and what they should say."""

    def __init__(
        self, to_be_signed: ToBeSigned, contents: Contents, serial: Serial, issuer: Issuer | None, now: datetime
    ) -> None:
        self.certificate = x509.load_der_x509_certificate(assemble(to_be_signed, _PLACEHOLDER))
        self.extensions = [(type(each.value), each) for each in self.certificate.extensions]
        self.raw = asn1.decode_der(_TbsCertificate, to_be_signed.tbs)
        self.algorithm = to_be_signed.algorithm
        self.contents, self.serial, self.issuer, self.now = contents, serial, issuer, now
        self.profile = PROFILES[contents.kind]
        self.unknown = [each.value for kind, each in self.extensions if kind is x509.UnrecognizedExtension]
        self._found: dict[type[Any], Any] = {kind: each.value for kind, each in self.extensions}

    def find(self, kind: type[_Extension]) -> _Extension | None:
        found: _Extension | None = self._found.get(kind)
        return found


@dataclass(frozen=True, slots=True)
class _OfIssuer:
    """What the rules compare with, of an issuer's certificate; read once for each issuer."""

    name: bytes
    spki: bytes
    key_identifier: bytes


@lru_cache(maxsize=16)
def _of(issuer: Issuer) -> _OfIssuer:
    certificate = issuer.certificate
    identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return _OfIssuer(certificate.subject.public_bytes(), spki(issuer.public_key), identifier.digest)


_Rule = Callable[[_Case], bool]


def _version_is_three(case: _Case) -> bool:
    """RFC 5280 4.1.2.1: extensions need version 3."""
    return case.certificate.version is x509.Version.v3


def _serial_is_the_one_drawn(case: _Case) -> bool:
    """RFC 5280 4.1.2.2: positive, at most 20 octets; the 19 of this authority begin with 0x01 to 0x7f."""
    octets = case.serial.octets
    return case.certificate.serial_number == case.serial.number and len(octets) == 19 and octets[0] <= 0x7F


def _issuer_is_the_signer(case: _Case) -> bool:
    """RFC 5280 4.1.2.4: the issuer's name is the subject of the issuer's certificate."""
    expected = _of(case.issuer).name if case.issuer else case.contents.holder.subject.public_bytes()
    return asn1.encode_der(case.raw.issuer) == expected


def _subject_is_the_computed_one(case: _Case) -> bool:
    """RFC 5280 4.1.2.6: a non-empty subject, and exactly the one that policy computed."""
    subject = case.contents.holder.subject
    return asn1.encode_der(case.raw.subject) == subject.public_bytes() and len(subject.rdns) > 0


def _key_is_the_proven_one(case: _Case) -> bool:
    """RFC 5280 4.1.2.7: the SubjectPublicKeyInfo is that of the key whose possession was proven."""
    return asn1.encode_der(case.raw.public_key) == case.contents.holder.spki


def _key_is_not_the_issuers(case: _Case) -> bool:
    """A subscriber with the CA's own key could sign for the CA."""
    return case.issuer is None or _of(case.issuer).spki != case.contents.holder.spki


def _algorithm_is_the_one_beside_the_signature(case: _Case) -> bool:
    """RFC 5280 4.1.1.2: signatureAlgorithm is the one inside."""
    return asn1.encode_der(case.raw.signature) == case.algorithm


def _validity_is_within(case: _Case) -> bool:
    """RFC 5280 4.1.2.5: in order, back-dated by at most a minute, and within the issuer's life."""
    certificate = case.certificate
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    within = case.issuer is None or end <= case.issuer.certificate.not_valid_after_utc
    return within and start < end and case.now - start <= BACKDATE + timedelta(seconds=1) and end > case.now


def _basic_constraints(case: _Case) -> bool:
    """RFC 5280 4.2.1.9: cA and pathLenConstraint as the profile says."""
    found, profile = case.find(x509.BasicConstraints), case.profile
    return found is not None and (found.ca, found.path_length) == (profile.certificate_authority, profile.path_length)


def _key_usage(case: _Case) -> bool:
    """RFC 5280 4.2.1.3: a CA signs certificates and CRLs, all others sign data, and nothing else."""
    usage, authority = case.find(x509.KeyUsage), case.profile.certificate_authority
    return usage is not None and (
        (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (authority, authority, not authority)
        and not (usage.content_commitment or usage.key_encipherment or usage.data_encipherment or usage.key_agreement)
    )


def _purpose(case: _Case) -> bool:
    """RFC 5280 4.2.1.12: exactly the profile's purpose, never anyExtendedKeyUsage."""
    found, wanted = case.find(x509.ExtendedKeyUsage), case.profile.purpose
    return (list(found) if found else []) == ([wanted] if wanted else [])


def _alternative_names(case: _Case) -> bool:
    """SPIFFE X.509-SVID 2: an agent or operator has exactly one SAN, its URI; others the computed ones."""
    found = case.find(x509.SubjectAlternativeName)
    names = tuple(found) if found else ()
    if case.contents.kind in (Kind.AGENT, Kind.OPERATOR):
        spiffe = len(names) == 1 and isinstance(names[0], x509.UniformResourceIdentifier)
        return spiffe and names == case.contents.holder.alternative_names and names[0].value.startswith("spiffe://")
    return names == case.contents.holder.alternative_names


def _authority_key_identifier(case: _Case) -> bool:
    """RFC 5280 4.2.1.1: the issuer's subject key identifier."""
    if case.issuer is None:
        return True
    found = case.find(x509.AuthorityKeyIdentifier)
    return found is not None and found.key_identifier == _of(case.issuer).key_identifier


def _subject_key_identifier(case: _Case) -> bool:
    """RFC 5280 4.2.1.2, method 1: SHA-1 of the key's bits."""
    found = case.find(x509.SubjectKeyIdentifier)
    wanted = x509.SubjectKeyIdentifier.from_public_key(case.contents.holder.public_key)
    return found is not None and found.digest == wanted.digest


def _name_constraints(case: _Case) -> bool:
    """RFC 5280 4.2.1.10: exactly those that the ceremony chose, and none on an end entity."""
    return case.find(x509.NameConstraints) == case.contents.name_constraints


def _status_is_reachable(case: _Case) -> bool:
    """RFC 5280 4.2.1.13 and 4.2.2.1: the pointers that the profile promises, to where the issuer publishes.

    RFC 9608 3: with noRevAvail none to OCSP and none to a list.
    """
    profile, number, access = case.profile, case.contents.crl, case.find(x509.AuthorityInformationAccess)
    found = {one.access_method: one.access_location.value for one in access or ()}
    lists = case.find(x509.CRLDistributionPoints)
    crl = [name.value for point in lists or () for name in point.full_name or ()]
    if case.issuer is None:
        return not found and not crl
    pointers, wanted = case.issuer.pointers, {AuthorityInformationAccessOID.CA_ISSUERS: case.issuer.pointers.ca_issuers}
    if profile.points_to_ocsp and number is not None:
        wanted[AuthorityInformationAccessOID.OCSP] = pointers.ocsp
    return found == wanted and crl == ([pointers.list(number)] if profile.points_to_crl and number is not None else [])


def _no_revocation_available(case: _Case) -> bool:
    """RFC 9608 2: noRevAvail, a NULL, in an agent's certificate without pointers to its status, and in no other."""
    found = [each for each in case.unknown if each.oid == NO_REV_AVAIL.oid]
    if case.contents.crl is None:
        return found == [NO_REV_AVAIL] and case.contents.kind is Kind.AGENT
    return not found


def _nothing_else(case: _Case) -> bool:
    """Only extensions that another rule looks at: one that nobody asked for is one that nobody checked."""
    no_check = case.find(x509.OCSPNoCheck) is not None
    return all(kind in _LINTED for kind, _ in case.extensions) and no_check == case.profile.no_check


def _critical_flags(case: _Case) -> bool:
    """Private extensions are never critical; basicConstraints, keyUsage and nameConstraints always are."""
    return all(each.critical == (kind in _CRITICAL) for kind, each in case.extensions)


def _private_extensions(case: _Case) -> bool:
    """Nothing unknown but what policy put there, and that of at most 1 KiB each."""
    found = [each for each in case.unknown if each.oid != NO_REV_AVAIL.oid]
    return tuple(found) == case.contents.private and all(len(e.value) <= MAX_OCTETS for e in found)


CERTIFICATE_RULES: tuple[_Rule, ...] = (
    _version_is_three,
    _serial_is_the_one_drawn,
    _issuer_is_the_signer,
    _subject_is_the_computed_one,
    _key_is_the_proven_one,
    _key_is_not_the_issuers,
    _algorithm_is_the_one_beside_the_signature,
    _validity_is_within,
    _basic_constraints,
    _key_usage,
    _purpose,
    _alternative_names,
    _authority_key_identifier,
    _subject_key_identifier,
    _name_constraints,
    _status_is_reachable,
    _no_revocation_available,
    _nothing_else,
    _critical_flags,
    _private_extensions,
)


def lint_certificate(
    to_be_signed: ToBeSigned, contents: Contents, serial: Serial, issuer: Issuer | None, now: datetime
) -> Linted:
    """Checks a TBSCertificate against what it should say.

    Raises `Refused(LINT_FAILED)` naming the rule: this is a fault of ours, never of the caller's.
    """
    try:
        case = _Case(to_be_signed, contents, serial, issuer, now)
        broken = next((rule for rule in CERTIFICATE_RULES if not rule(case)), None)
    except (ValueError, x509.DuplicateExtension, x509.InvalidVersion) as error:
        raise failed("the bytes do not parse") from error
    if broken is not None:
        raise failed(broken.__name__)
    return Linted(to_be_signed)


def failed(rule: str) -> Refused:
    """What a broken rule is refused with: a fault of ours."""
    return Refused(Reason.LINT_FAILED, f"Nothing was signed: the check before the signature failed ({rule}).")
