"""An agent's certificate as the files that a relying party holds, and where it says that its status is."""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID


@dataclass(frozen=True)
class Subject:
    """The leaf alone, and what the agent presents (leaf and issuing CA)."""

    certificate: x509.Certificate
    leaf: Path
    presented: Path

    @property
    def ocsp_url(self) -> str:
        """Where the certificate itself says that its status is to be asked."""
        access = self.certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        (url,) = (
            each.access_location.value for each in access if each.access_method == AuthorityInformationAccessOID.OCSP
        )
        return str(url)

    @property
    def crl_url(self) -> str:
        """The one CRL that the certificate names."""
        return crl_url_of(self.certificate)


def subject(folder: Path, chain: list[x509.Certificate]) -> Subject:
    """The chain, leaf first, as files in a new folder."""
    folder.mkdir()
    return Subject(chain[0], write(folder / "leaf.pem", chain[0]), write(folder / "presented.pem", *chain))


def crl_url_of(certificate: x509.Certificate) -> str:
    """The only full name of the only CRL distribution point (RFC 5280 4.2.1.13)."""
    (point,) = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert point.full_name is not None
    (name,) = point.full_name
    return str(name.value)


def fetch(url: str) -> bytes:
    """The body at a plain http URL of the status service."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return bytes(answer.read())


def fetch_crl(url: str) -> x509.CertificateRevocationList:
    """The CRL at a plain http URL of the status service."""
    return x509.load_der_x509_crl(fetch(url))


def write(path: Path, *objects: x509.Certificate | x509.CertificateRevocationList) -> Path:
    """Their PEM, one after the other."""
    path.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in objects))
    return path
