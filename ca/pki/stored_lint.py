"""The check of an intent that lay in the database, before it is signed: who wrote the row may be another.

Its profile is that of its day and was linted then; here it is compared with its row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ca.identifiers import Serial, SpiffeId, Thumbprint
from ca.pki.certificate import NO_REV_AVAIL, Issuer
from ca.pki.lint import Linted, failed
from ca.pki.profile import Validity
from ca.pki.signed import ToBeSigned, algorithm_identifier, assemble

_PLACEHOLDER = b"\x00"


@dataclass(frozen=True, slots=True)
class Stored:
    """What the row of an end entity says; `path` is an agent's or an operator's, in its SPIFFE ID.

    `crl` is the number of the list that a revocation of it will be in.
    """

    serial: Serial
    key: Thumbprint
    validity: Validity
    path: str | None
    crl: int
    made_at: datetime


class _Case:
    """The bytes, read anew, and what they should say."""

    def __init__(self, to_be_signed: ToBeSigned, stored: Stored, issuer: Issuer) -> None:
        self.certificate = x509.load_der_x509_certificate(assemble(to_be_signed, _PLACEHOLDER))
        values = [each.value for each in self.certificate.extensions]
        self.extensions = {type(value): value for value in values}
        self.no_revocation = NO_REV_AVAIL in values
        self.algorithm = to_be_signed.algorithm
        self.stored, self.issuer = stored, issuer


def _serial(case: _Case) -> bool:
    """RFC 5280 4.1.2.2: the one that the row has reserved."""
    return case.certificate.serial_number == case.stored.serial.number


def _issuer(case: _Case) -> bool:
    """RFC 5280 4.1.2.4."""
    return case.certificate.issuer == case.issuer.certificate.subject


def _algorithm(case: _Case) -> bool:
    """RFC 5280 4.1.1.2: that of the issuer's key; the parser refuses another one inside."""
    return case.algorithm == algorithm_identifier(case.issuer.public_key)


def _key(case: _Case) -> bool:
    """RFC 5280 4.1.2.7: the key whose possession was proven."""
    spki = case.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Thumbprint.of(spki) == case.stored.key


def _validity(case: _Case) -> bool:
    """RFC 5280 4.1.2.5: what was decided, within the issuer's life, and longer than it was when it was made."""
    wanted, end = case.stored.validity, case.issuer.certificate.not_valid_after_utc
    told = Validity(case.certificate.not_valid_before_utc, case.certificate.not_valid_after_utc)
    return told == wanted and wanted.not_before <= case.stored.made_at < wanted.not_after <= end


def _name(case: _Case) -> bool:
    """RFC 5280 4.2.1.6: the one SAN of who asked."""
    if case.stored.path is None:
        return True
    names = case.extensions.get(x509.SubjectAlternativeName)
    found = list(names) if isinstance(names, x509.SubjectAlternativeName) else []
    return [SpiffeId(name.value).path for name in found if _is_uri(name)] == [case.stored.path] and len(found) == 1


def _is_uri(name: x509.GeneralName) -> bool:
    return isinstance(name, x509.UniformResourceIdentifier)


def _list(case: _Case) -> bool:
    """RFC 5280 4.2.1.13: the list that its revocation will be in; where that was published may have changed since.

    RFC 9608 3: none, and the full list in the row. RFC 6960 4.2.2.2.1: a responder names none.
    """
    points = case.extensions.get(x509.CRLDistributionPoints)
    found = [
        _below_status_url(name.value)
        for point in (points if isinstance(points, x509.CRLDistributionPoints) else ())
        for name in point.full_name or ()
    ]
    if case.no_revocation:
        return not found and case.stored.crl == 0
    responder = case.stored.path is None and x509.OCSPNoCheck in case.extensions
    return found == ([] if responder else [_below_status_url(case.issuer.pointers.list(case.stored.crl))])


def _below_status_url(url: str) -> str:
    return url[url.rfind("/crl/") :]


def _is_no_authority(case: _Case) -> bool:
    """RFC 5280 4.2.1.9 and 4.2.1.3: an end entity signs neither certificates nor lists."""
    constraints = case.extensions.get(x509.BasicConstraints)
    usage = case.extensions.get(x509.KeyUsage)
    return (
        isinstance(constraints, x509.BasicConstraints)
        and not constraints.ca
        and isinstance(usage, x509.KeyUsage)
        and not (usage.key_cert_sign or usage.crl_sign)
    )


STORED_RULES: tuple[Callable[[_Case], bool], ...] = (
    _serial,
    _issuer,
    _algorithm,
    _key,
    _validity,
    _name,
    _list,
    _is_no_authority,
)


def lint_stored(to_be_signed: ToBeSigned, stored: Stored, issuer: Issuer) -> Linted:
    """Checks a TBSCertificate that was stored. Raises `Refused(LINT_FAILED)` naming the rule."""
    try:
        case = _Case(to_be_signed, stored, issuer)
        broken = next((rule for rule in STORED_RULES if not rule(case)), None)
    except (ValueError, x509.DuplicateExtension, x509.InvalidVersion) as error:
        raise failed("the bytes do not parse") from error
    if broken is not None:
        raise failed(f"stored {broken.__name__}")
    return Linted(to_be_signed)
