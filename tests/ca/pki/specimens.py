"""A root and an issuing CA in memory, and what each kind of certificate may say: the raw material of these tests.

Made by the code under test, so that every test of a parser also reads what we really write.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509

from ca.hsm import KeyKind
from ca.identifiers import AgentId, OperatorName, Serial, SpiffeId, TenantId, TrustDomain
from ca.pki import certificate, profile, signed
from ca.pki.certificate import Contents, Holder, Issuer, Pointers
from ca.pki.extensions import AgentTask, private_extension
from ca.pki.keys import PublicKey
from ca.pki.profile import Kind
from tests.memory_signer import MemorySigner

NOW = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
ARC = "1.3.6.1.4.1.32473.1"
DOMAIN = TrustDomain("agents.example")
ORGANISATION = "Remit"
TENANT, AGENT, OPERATOR = TenantId("acme"), AgentId("billing-bot"), OperatorName("ops")
SPIFFE = SpiffeId.agent(DOMAIN, TENANT, AGENT)
SUBJECT = profile.agent_subject(ORGANISATION, TENANT, AGENT)
POINTERS = Pointers("http://status.example/ca/i.cer", "http://status.example/crl/i", "http://status.example/ocsp")
TASK = AgentTask("invoices-7", scope="invoices:read", deadline=NOW + timedelta(hours=1))


def serial(number: int = 1) -> Serial:
    """A serial of the form that is assigned: 19 octets."""
    return Serial.assign(1, number.to_bytes(18, "big"))


def uri(value: object) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(str(value))


@dataclass
class Hierarchy:
    """Two CAs whose keys are in a `MemorySigner`."""

    kind: KeyKind = KeyKind.P256
    signer: MemorySigner = field(default_factory=MemorySigner)

    def __post_init__(self) -> None:
        root_key, issuing_key = (self.signer.generate(name, self.kind) for name in ("root", "issuing"))
        self.root = self._made("root", Kind.ROOT, root_key, None, root_key)
        self.issuer = self._made("issuing", Kind.ISSUING, issuing_key, self.root, root_key)
        self.agent_key = self.signer.generate("agent")

    def contents(self, kind: Kind, key: PublicKey | None = None) -> Contents:
        """Contents of this kind as the authority would compute them; an agent's by default for `agent_key`."""
        key = key or self.agent_key
        holder, private, constraints = _AS[kind](key), (), None
        if kind is Kind.AGENT:
            private = (private_extension(ARC, TASK),)
        if kind is Kind.ISSUING:
            constraints = x509.NameConstraints([uri(DOMAIN)], None)
        return Contents(kind, holder, profile.validity(NOW, timedelta(minutes=15)), private, constraints)

    def issue(self, contents: Contents, number: int = 1) -> x509.Certificate:
        """A certificate of the issuing CA with these contents."""
        to_be_signed = certificate.to_be_signed(contents, serial(number), self.issuer)
        return x509.load_der_x509_certificate(self.sealed(to_be_signed, self.issuer.public_key))

    def sealed(self, to_be_signed: signed.ToBeSigned, key: PublicKey) -> bytes:
        [signature] = self.signer.sign(key, [to_be_signed.tbs]).result()
        return signed.seal(to_be_signed, signature, key)

    def _made(self, name: str, kind: Kind, key: PublicKey, issuer: Issuer | None, signing_key: PublicKey) -> Issuer:
        contents = self.contents_of_authority(kind, key, name)
        der = self.sealed(certificate.to_be_signed(contents, serial(), issuer), signing_key)
        return Issuer(name, x509.load_der_x509_certificate(der), key, POINTERS)

    @staticmethod
    def contents_of_authority(kind: Kind, key: PublicKey, name: str) -> Contents:
        constraints = x509.NameConstraints([uri(DOMAIN)], None) if kind is Kind.ISSUING else None
        holder = Holder(profile.authority_subject(ORGANISATION, name), key)
        return Contents(kind, holder, profile.validity(NOW - timedelta(days=1), timedelta(days=900)), (), constraints)


_AS = {
    Kind.ROOT: lambda key: Holder(profile.authority_subject(ORGANISATION, "root"), key),
    Kind.ISSUING: lambda key: Holder(profile.authority_subject(ORGANISATION, "issuing"), key),
    Kind.RESPONDER: lambda key: Holder(profile.authority_subject(ORGANISATION, "ocsp"), key),
    Kind.SERVER: lambda key: Holder(
        profile.authority_subject(ORGANISATION, "api.example"),
        key,
        (x509.DNSName("api.example"), x509.IPAddress(ip_address("192.0.2.1"))),
    ),
    Kind.OPERATOR: lambda key: Holder(
        profile.operator_subject(ORGANISATION, OPERATOR), key, (uri(SpiffeId.operator(DOMAIN, OPERATOR)),)
    ),
    Kind.AGENT: lambda key: Holder(SUBJECT, key, (uri(SPIFFE),)),
}
