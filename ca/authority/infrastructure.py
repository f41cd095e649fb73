"""The authority's own end entities: the API's TLS certificate and the delegated OCSP responder's.

Each is renewed by itself when a third of its life is left; the key stays, so nothing that runs
has to change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

from ca.authority.authority import Authority
from ca.authority.issuance import Decision, Denied, Issued, Verdict
from ca.pki import keys, profile
from ca.pki.certificate import Contents, Holder
from ca.pki.keys import PublicKey
from ca.pki.profile import Kind
from ca.refusals import Reason, Refused
from ca.store import blocked_keys, certificates
from ca.store.transaction import Connection

RESPONDER_LIFETIME = timedelta(days=7)
SERVER_LIFETIME = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class _Wanted:
    kind: Kind
    holder: Holder
    name: str
    lifetime: timedelta


async def ensure_responder(authority: Authority, public_key: PublicKey) -> bytes:
    """The OCSP responder's certificate in DER (RFC 6960 4.2.2.2), renewed if it is time."""
    subject = profile.authority_subject(
        authority.names.organisation, f"{authority.names.trust_domain} OCSP {keys.thumbprint(public_key).hex[:8]}"
    )
    return await _ensure(authority, Kind.RESPONDER, Holder(subject, public_key), "ocsp", RESPONDER_LIFETIME)


async def renew_responder(authority: Authority) -> None:
    """Renews the responder's certificate, for the key that the last one names, if it is time."""
    with authority.database.read() as connection:
        latest = certificates.latest(connection, Kind.RESPONDER, authority.issuer.id)
    if latest is not None:
        await ensure_responder(authority, keys.narrow(x509.load_der_x509_certificate(latest.der).public_key()))


async def ensure_server(
    authority: Authority, public_key: PublicKey, names: tuple[x509.GeneralName, ...], host: str
) -> bytes:
    """The API's TLS server certificate in DER for these DNS names and addresses, renewed if it is time."""
    subject = profile.authority_subject(authority.names.organisation, host[:64])
    return await _ensure(authority, Kind.SERVER, Holder(subject, public_key, names), host, SERVER_LIFETIME)


async def _ensure(authority: Authority, kind: Kind, holder: Holder, name: str, lifetime: timedelta) -> bytes:
    now = authority.clock()
    with authority.database.read() as connection:
        current = certificates.newest(connection, kind, authority.issuer.id, now)
    if current is not None and not _is_due(current.der, holder, now):
        return current.der
    return (await _issue(authority, kind, holder, name, lifetime)).der


async def _issue(authority: Authority, kind: Kind, holder: Holder, name: str, lifetime: timedelta) -> Issued:
    return await authority.line.issue(_decide, _Wanted(kind, holder, name, lifetime))


def _decide(
    authority: Authority, connection: Connection, wanted: Sequence[_Wanted], now: datetime
) -> Sequence[Verdict]:
    ends = authority.issuer.certificate.not_valid_after_utc
    blocked = blocked_keys.blocked(connection, {one.holder.key_thumbprint for one in wanted})
    cas = {keys.thumbprint(ca.public_key) for ca in (authority.root, authority.issuer)}
    return [
        Denied(_unfit(one))
        if one.holder.key_thumbprint in blocked | cas
        else Decision(
            Contents(one.kind, one.holder, profile.validity(now, one.lifetime, ends)), one.name, actor="authority"
        )
        for one in wanted
    ]


def _unfit(wanted: _Wanted) -> Refused:
    mend = "remove 'tls/tls.key' from the home, and start again" if wanted.kind is Kind.SERVER else "make another one"
    return Refused(
        Reason.KEY_REFUSED,
        f"The {wanted.kind.value}'s key is a CA's own or was compromised, so it is not certified: {mend}.",
    )


def _is_due(der: bytes, holder: Holder, now: datetime) -> bool:
    """Whether a third of the life, or less, is left, or the key or a name is not the one wanted."""
    certificate = x509.load_der_x509_certificate(der)
    left = certificate.not_valid_after_utc - now
    if left < (certificate.not_valid_after_utc - certificate.not_valid_before_utc) / 3:
        return True
    names = [
        tuple(extension.value)
        for extension in certificate.extensions
        if isinstance(extension.value, x509.SubjectAlternativeName)
    ]
    return certificate.public_key() != holder.public_key or (names or [()]) != [holder.alternative_names]
