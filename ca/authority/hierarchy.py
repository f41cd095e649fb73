"""The root and the issuing CA: made once, by the ceremony, both signed by the root's key in the token.

Their names carry the first digits of their key's digest, so that no two authorities share a
subject DN: some consumers know a CA by its name alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

from ca.authority.authority import Names
from ca.hsm import Signer
from ca.identifiers import Serial, Thumbprint
from ca.pki import certificate, keys, lint, profile, signed
from ca.pki.certificate import Contents, Holder, Issuer, Pointers
from ca.pki.keys import PublicKey
from ca.pki.profile import Kind
from ca.refusals import Reason, Refused
from ca.store import audit, certificates, crls, issuers
from ca.store.audit import Entry
from ca.store.certificates import Intent, Result
from ca.store.issuers import IssuerRecord
from ca.store.transaction import Connection, Database

ROOT = "root-1"
ISSUING = "issuing-1"
RESPONDER = "ocsp-1"
"""The labels of the keys in the token; the first two are also the CAs' names in URLs."""

ROOT_LIFETIME = timedelta(days=20 * 365)
ISSUING_LIFETIME = timedelta(days=5 * 365)


@dataclass(frozen=True, slots=True)
class Foundation:
    """What the ceremony stands on."""

    database: Database
    signer: Signer
    names: Names
    status_url: str
    clock: Callable[[], datetime]
    random: Callable[[int], bytes]


def establish(foundation: Foundation, root_key: PublicKey, issuing_key: PublicKey) -> tuple[Issuer, Issuer]:
    """Makes the root and the issuing CA and stores both in one transaction: all of it or nothing.

    The signatures come first here, as the only ones that do: without the row there is no authority
    yet, and a ceremony that died starts anew with the same keys. Raises `Refused(CONFLICT)` for one key twice.
    """
    if keys.thumbprint(root_key) == keys.thumbprint(issuing_key):
        raise _not_apart(ROOT, ISSUING, "key")
    now = foundation.clock()
    root_contents = _contents(foundation, Kind.ROOT, "Root CA", root_key, now, ROOT_LIFETIME)
    root = _make(foundation, ROOT, root_contents, None, root_key, now)
    issuing_contents = _contents(foundation, Kind.ISSUING, "Issuing CA", issuing_key, now, ISSUING_LIFETIME)
    issuing = _make(foundation, ISSUING, issuing_contents, root.issuer, root_key, now)

    def act(connection: Connection) -> None:
        for made in (root, issuing):
            _store(connection, made, root.issuer, now)

    foundation.database.write(act).result()
    return root.issuer, issuing.issuer


def load(database: Database, status_url: str) -> tuple[Issuer, Issuer] | None:
    """The root and the issuing CA of this database, or None before the ceremony.

    Raises `Refused(CONFLICT)` when two CAs share a key or a subject, or the OCSP responder has a CA's key.
    """
    with database.read() as connection:
        stored = issuers.everyone(connection)
        responders = [certificates.latest(connection, Kind.RESPONDER, record.id) for record in stored]
    if not stored:
        return None
    _check_apart(stored, {record.intent.key for record in responders if record is not None})
    records = {record.kind: record for record in stored}
    return _issuer(records[Kind.ROOT], status_url), _issuer(records[Kind.ISSUING], status_url)


def _check_apart(stored: Sequence[IssuerRecord], responders: Collection[Thumbprint]) -> None:
    """Consumers know a CA by its subject or by its key alone; and who may say `good` must not be able to certify."""
    by_key: dict[object, str] = {}
    by_subject: dict[object, str] = {}
    for record in stored:
        made = x509.load_der_x509_certificate(record.certificate)
        key = keys.thumbprint(keys.narrow(made.public_key()))
        if key in responders:
            raise _not_apart(record.id, "the OCSP responder", "key")
        for found, value, what in ((by_key, key, "key"), (by_subject, _folded(made.subject), "subject")):
            if (other := found.setdefault(value, record.id)) != record.id:
                raise _not_apart(other, record.id, what)


def _folded(subject: x509.Name) -> tuple[object, ...]:
    """A name as it is compared (RFC 5280 7.1): neither case nor the amount of white space matters."""
    return tuple(
        frozenset((one.oid, " ".join(str(one.value).split()).casefold()) for one in part) for part in subject.rdns
    )


def _not_apart(one: str, other: str, what: str) -> Refused:
    return Refused(
        Reason.CONFLICT, f"{one} and {other} have the same {what}: the authority does not start. Make a new {what}."
    )


@dataclass(frozen=True, slots=True)
class _Made:
    issuer: Issuer
    intent: Intent
    signature: bytes
    der: bytes


def _make(
    foundation: Foundation, name: str, contents: Contents, issuer: Issuer | None, signing_key: PublicKey, now: datetime
) -> _Made:
    serial = Serial.assign(1, foundation.random(18))
    to_be_signed = certificate.to_be_signed(contents, serial, issuer)
    linted = lint.lint_certificate(to_be_signed, contents, serial, issuer, now)
    [signature] = foundation.signer.sign(signing_key, [linted.to_be_signed.tbs]).result()
    der = signed.seal(to_be_signed, signature, signing_key)
    intent = Intent(
        issuer=issuer.id if issuer else name,
        serial=serial,
        kind=contents.kind,
        tenant=None,
        holder=name,
        task=None,
        key=keys.thumbprint(contents.holder.public_key),
        not_before=contents.validity.not_before,
        not_after=contents.validity.not_after,
        crl_shard=crls.FULL,
        to_be_signed=to_be_signed,
        created_at=now,
    )
    made = x509.load_der_x509_certificate(der)
    return _Made(
        Issuer(name, made, contents.holder.public_key, pointers(name, foundation.status_url)), intent, signature, der
    )


def _store(connection: Connection, made: _Made, root: Issuer, now: datetime) -> None:
    issuers.add(connection, IssuerRecord(made.issuer.id, made.intent.kind, made.issuer.id, made.der, now))
    certificates.intend(connection, [made.intent])
    certificates.record(connection, [Result(made.intent, made.signature, Thumbprint.of(made.der))])
    detail = {"kind": made.intent.kind.value, "subject": made.issuer.certificate.subject.rfc4514_string()}
    entry = Entry(now, "ceremony", "certificate.issue", "granted", serial=str(made.intent.serial), detail=detail)
    audit.append(connection, entry)


def _contents(
    foundation: Foundation, kind: Kind, title: str, key: PublicKey, now: datetime, lifetime: timedelta
) -> Contents:
    domain = foundation.names.trust_domain
    name = f"{domain} {title} {keys.thumbprint(key).hex[:8]}"
    constraints = None
    if kind is Kind.ISSUING:
        # RFC 5280 4.2.1.10: a URI's host must be the trust domain; names of other kinds are not constrained.
        constraints = x509.NameConstraints([x509.UniformResourceIdentifier(domain)], None)
    return Contents(
        kind=kind,
        holder=Holder(profile.authority_subject(foundation.names.organisation, name), key),
        validity=profile.validity(now, lifetime),
        name_constraints=constraints,
    )


def _issuer(record: IssuerRecord, status_url: str) -> Issuer:
    made = x509.load_der_x509_certificate(record.certificate)
    return Issuer(record.id, made, keys.narrow(made.public_key()), pointers(record.id, status_url))


def pointers(name: str, status_url: str) -> Pointers:
    """Where the world finds what this CA publishes."""
    return Pointers(ca_issuers=f"{status_url}/ca/{name}.cer", crl=f"{status_url}/crl/{name}", ocsp=f"{status_url}/ocsp")
