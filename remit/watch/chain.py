"""Who signed what (RFC 5280 6.1, as much of it as two certificates need), and where a certificate points."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import AuthorityInformationAccessOID

from remit.watch.finding import CLOCK_TOLERANCE

_LIST = re.compile(r"(?P<stem>.+/crl/[a-z0-9._-]{1,63})(?P<part>|/[0-9]{1,4}|/delta)\.crl")

UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What the parser raises, some of it only when a part is looked at."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """The one root that is trusted, by the SHA-256 of its certificate."""

    sha256: bytes

    @classmethod
    def of(cls, root: x509.Certificate) -> Anchor:
        """Trusts this very certificate."""
        return cls(root.fingerprint(hashes.SHA256()))

    def is_(self, certificate: x509.Certificate) -> bool:
        """Whether the certificate is that very root."""
        return certificate.fingerprint(hashes.SHA256()) == self.sha256


@dataclass(frozen=True, slots=True)
class Pointers:
    """The URLs that a certificate names (RFC 5280 4.2.1.13, 4.2.2.1)."""

    ca_issuers: tuple[str, ...]
    crl: tuple[str, ...]
    ocsp: tuple[str, ...]


def read(der: bytes) -> x509.Certificate:
    """The certificate, with all that is looked at here parsed. Raises one of `UNREADABLE`."""
    certificate = x509.load_der_x509_certificate(der)
    for part in ("extensions", "subject", "issuer", "not_valid_before_utc", "not_valid_after_utc"):
        getattr(certificate, part)
    certificate.public_key()
    return certificate


def pointers(certificate: x509.Certificate) -> Pointers:
    """Where the certificate says that its issuer and its status are."""
    access = extension(certificate, x509.AuthorityInformationAccess) or ()
    points = extension(certificate, x509.CRLDistributionPoints) or ()

    def located(method: x509.ObjectIdentifier) -> tuple[str, ...]:
        return _urls(one.access_location for one in access if one.access_method == method)

    return Pointers(
        ca_issuers=located(AuthorityInformationAccessOID.CA_ISSUERS),
        crl=_urls(name for point in points for name in point.full_name or ()),
        ocsp=located(AuthorityInformationAccessOID.OCSP),
    )


def stem(url: str) -> str | None:
    """`…/crl/<issuer>`, under which an authority of this kind publishes all lists of one issuer; None of another's."""
    match = _LIST.fullmatch(url)
    return match["stem"] if match else None


def part(url: str) -> str | None:
    """`full`, `shard` or `delta`, by where the list is; None where the place does not say."""
    match = _LIST.fullmatch(url)
    if match is None:
        return None
    return {"": "full", "/delta": "delta"}.get(match["part"], "shard")


def faults(child: x509.Certificate, issuer: x509.Certificate, now: datetime) -> Iterator[str]:
    """What speaks against `issuer` having issued `child`, and being valid; nothing when all is well."""
    try:
        child.verify_directly_issued_by(issuer)
    except (*UNREADABLE, InvalidSignature):
        yield f"It did not sign the certificate of {subject(child)}; publish the one whose key did."
    constraints = extension(issuer, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        yield "It is not a CA's certificate; publish the issuing CA's here."
    yield from ended(issuer, now)


def ended(certificate: x509.Certificate, now: datetime) -> Iterator[str]:
    """Whether it is valid now (RFC 5280 4.1.2.5)."""
    if certificate.not_valid_before_utc > now + CLOCK_TOLERANCE:
        begins = f"{certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}"
        yield f"The certificate of {subject(certificate)} is not valid before {begins}; set the clocks right."
    if certificate.not_valid_after_utc < now:
        ends = f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
        yield f"The certificate of {subject(certificate)} ended at {ends}; name or publish the new one."


def subject(certificate: x509.Certificate) -> str:
    """Whose certificate it is, as RFC 4514 writes it."""
    return certificate.subject.rfc4514_string() or "nobody"


def extension(holder: x509.Certificate | x509.CertificateRevocationList, kind: type[x509.ExtensionType]) -> Any:
    """The value of that extension, or None. Raises one of `UNREADABLE`."""
    try:
        return holder.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _urls(names: Iterable[x509.GeneralName]) -> tuple[str, ...]:
    return tuple(one.value for one in names if isinstance(one, x509.UniformResourceIdentifier))
