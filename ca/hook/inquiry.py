"""A question to the hook: who asks, and which certificate about. Both are looked up together, at that moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from ca.authority.authority import Authority
from ca.hook import standings
from ca.hook.standings import Subject
from ca.identifiers import OperatorName, Serial, Thumbprint
from ca.pki.profile import Kind
from ca.store import bindings, certificates, operators, relying_parties
from ca.store.certificates import CertificateRecord
from ca.store.operators import Role
from ca.store.relying_parties import RelyingParty
from ca.store.transaction import Connection


@dataclass(frozen=True, slots=True)
class ByCertificate:
    """A caller by the SHA-256 of its client certificate, which the handshake verified."""

    x5t: Thumbprint


@dataclass(frozen=True, slots=True)
class ByKey:
    """A caller by the SHA-256 of a key that it shows."""

    key: Thumbprint


@dataclass(frozen=True, slots=True)
class ByListener:
    """Whoever reached the listener that is for gateways alone: it has no name, and may ask about every tenant."""


@dataclass(frozen=True, slots=True)
class OfThumbprint:
    """The certificate with this SHA-256; `der` where it was sent whole."""

    x5t: Thumbprint
    der: bytes | None = None


@dataclass(frozen=True, slots=True)
class OfKey:
    """The certificate that a token was bound to last by the thumbprint of its key (RFC 7638)."""

    jkt: Thumbprint


@dataclass(frozen=True, slots=True)
class OfSerial:
    """The certificate with this serial; `issuer` is its issuer's distinguished name (RFC 4514)."""

    issuer: str
    serial: Serial


Caller = ByCertificate | ByKey | ByListener
About = OfThumbprint | OfKey | OfSerial


@dataclass(frozen=True, slots=True)
class Inquiry:
    """One question."""

    caller: Caller
    about: About


@dataclass(frozen=True, slots=True)
class Asker:
    """An operator who asks, and what it may be told as a relying party."""

    role: Role
    party: RelyingParty


@dataclass(frozen=True, slots=True)
class Found:
    """Who asks, None for a stranger; and the certificate, None for one that is not there or not for this asker.

    `foreign` says that it is of another issuer.
    """

    asker: Asker | None
    subject: Subject | None = None
    foreign: bool = False


_GATEWAY = Asker(Role.RELYING_PARTY, RelyingParty(OperatorName("gateway"), sees_reasons=True))

_Records = Mapping[Thumbprint, CertificateRecord]


def look_up(authority: Authority, connection: Connection, inquiries: Sequence[Inquiry]) -> list[Found]:
    """What there is for each of these questions."""
    bound = bindings.certificates_of(connection, {one.about.jkt for one in inquiries if isinstance(one.about, OfKey)})
    records = _records(connection, inquiries, bound.values())
    askers = _askers(authority, connection, inquiries, records)
    subjects = standings.read(authority, connection, records.values())
    by_serial = {one.record.intent.serial: one for one in subjects.values()}

    def found(one: Inquiry) -> Found:
        match one.about:
            case OfThumbprint(x5t):
                subject = subjects.get(x5t)
            case OfKey(jkt):
                subject = subjects.get(bound[jkt]) if jkt in bound else None
            case OfSerial(issuer, serial):
                subject = by_serial.get(serial) if _is_ours(authority, issuer) else None
        asker = askers.get(one.caller)
        if asker is None or subject is None or not asker.party.may_ask_about(subject.tenant):
            return Found(asker, foreign=_is_foreign(authority, one.about))
        return Found(asker, subject)

    return [found(one) for one in inquiries]


def _records(connection: Connection, inquiries: Iterable[Inquiry], more: Iterable[Thumbprint]) -> _Records:
    """The callers' certificates, and those that are asked about."""
    x5ts = {one.caller.x5t for one in inquiries if isinstance(one.caller, ByCertificate)}
    x5ts |= {one.about.x5t for one in inquiries if isinstance(one.about, OfThumbprint)}
    found = certificates.by_thumbprints(connection, x5ts.union(more))
    serials = {one.about.serial for one in inquiries if isinstance(one.about, OfSerial)}
    return found | {record.x5t: record for record in certificates.by_serials(connection, serials).values()}


def _askers(
    authority: Authority, connection: Connection, inquiries: Iterable[Inquiry], records: _Records
) -> dict[Caller, Asker]:
    callers, now = {one.caller for one in inquiries}, authority.clock()
    keyed = relying_parties.by_keys(connection, {one.key for one in callers if isinstance(one, ByKey)})
    askers: dict[Caller, Asker] = {ByKey(key): Asker(Role.RELYING_PARTY, party) for key, party in keyed.items()}
    askers[ByListener()] = _GATEWAY
    live = {one: _operator(records.get(one.x5t), now) for one in callers if isinstance(one, ByCertificate)}
    names = {name for name in live.values() if name is not None}
    roles, parties = operators.roles(connection, names), relying_parties.named(connection, names)
    for caller, name in live.items():
        if name is not None and name in roles:
            alike = RelyingParty(name, sees_reasons=roles[name] is Role.ADMIN)
            askers[caller] = Asker(roles[name], parties.get(name, alike))
    return askers


def _operator(record: CertificateRecord | None, now: datetime) -> OperatorName | None:
    if record is None or record.intent.kind is not Kind.OPERATOR or record.state(now) != "live":
        return None
    return OperatorName(record.intent.holder)


def _is_ours(authority: Authority, issuer: str) -> bool:
    return issuer == authority.issuer.dn


def _is_foreign(authority: Authority, about: About) -> bool:
    match about:
        case OfSerial(issuer):
            return not _is_ours(authority, issuer)
        case OfThumbprint(der=bytes(der)):
            try:
                return x509.load_der_x509_certificate(der).issuer != authority.issuer.certificate.subject
            except (ValueError, x509.InvalidVersion):
                return True
    return False
