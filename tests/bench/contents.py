"""The agent's certificate of our profile, built in the plainest way: for the naive path and the floor."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from tests.bench.keys import SigningKey


class Profile:
    """What every certificate says, read once: the issuer's names and where it publishes."""

    def __init__(self, issuer: x509.Certificate, status_url: str) -> None:
        self.issuer = issuer
        self.status_url = status_url
        self.key_identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value

    def sign(self, agent: str, public_key: Any, key: SigningKey) -> x509.Certificate:
        now = datetime.now(UTC).replace(microsecond=0)  # noqa: TID251 (as anyone would write it)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_subject(agent))
            .issuer_name(self.issuer.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + timedelta(minutes=15))
        )
        for extension, critical in self._extensions(agent, public_key):
            builder = builder.add_extension(extension, critical)
        return builder.sign(key, hashes.SHA256())

    def _extensions(self, agent: str, public_key: Any) -> list[tuple[x509.ExtensionType, bool]]:
        uri = x509.UniformResourceIdentifier
        access = [
            x509.AccessDescription(AuthorityInformationAccessOID.OCSP, uri(f"{self.status_url}/ocsp")),
            x509.AccessDescription(
                AuthorityInformationAccessOID.CA_ISSUERS, uri(f"{self.status_url}/ca/issuing-1.cer")
            ),
        ]
        point = x509.DistributionPoint([uri(f"{self.status_url}/crl/issuing-1/1.crl")], None, None, None)
        return [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_key_usage(), True),
            (x509.SubjectKeyIdentifier.from_public_key(public_key), False),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),
            (x509.SubjectAlternativeName([uri(spiffe_id(agent))]), False),
            (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self.key_identifier), False),
            (x509.AuthorityInformationAccess(access), False),
            (x509.CRLDistributionPoints([point]), False),
        ]


def _subject(agent: str) -> x509.Name:
    names = {
        NameOID.ORGANIZATION_NAME: "Remit",
        NameOID.ORGANIZATIONAL_UNIT_NAME: "default",
        NameOID.COMMON_NAME: agent,
    }
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in names.items()])


def spiffe_id(agent: str) -> str:
    return f"spiffe://agents.example/agent/default/{agent}"


def _key_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=False,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
