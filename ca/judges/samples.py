"""What there is to judge: the newest of each kind that was really signed. Nothing is signed for the occasion."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from ca.pki.certificate import NO_REV_AVAIL
from ca.pki.profile import Kind
from ca.store import certificates, crls, issuers
from ca.store.certificates import CertificateRecord
from ca.store.crls import DELTA, FULL
from ca.store.filters import Filter
from ca.store.issuers import IssuerRecord
from ca.store.transaction import Connection

NAMES = (
    *("root", "issuing", "responder", "server", "operator", "agent"),
    *("root-issuing", "issuing-responder", "issuing-agent"),
    *("root-crl", "issuing-crl", "issuing-crl-shard", "issuing-crl-delta"),
    *("ocsp-good", "ocsp-revoked", "ocsp-never-issued", "ocsp-sha256-nonce"),
)
"""Every kind of thing that is signed, by the name that a waiver gives it."""

_RECENT_AGENTS = 500
_CALL_SECONDS = 3
# No serial of this authority has fewer than 19 octets.
_NEVER_ISSUED = 1


class Form(StrEnum):
    """What a judge needs to know of a sample. `CHAIN` is a CA certificate and one that it signed."""

    CERTIFICATE = "certificate"
    CHAIN = "chain"
    ROOT_CRL = "root crl"
    CRL = "crl"
    OCSP = "ocsp"


@dataclass(frozen=True, slots=True)
class Sample:
    """One thing that was signed: its kind, its form, which one it is in words, and its DER (of a chain two)."""

    name: str
    form: Form
    about: str
    ders: tuple[bytes, ...]


def stored(connection: Connection, now: datetime) -> Iterator[Sample]:
    """From the store: CA certificates, the last certificate of each kind, agents of each sort, the CRLs in force."""
    authorities = {record.id: record for record in issuers.everyone(connection)}
    of_kind = {record.kind: record for record in authorities.values()}
    for record in authorities.values():
        yield Sample(record.kind.value, Form.CERTIFICATE, record.id, (record.certificate,))
    if Kind.ROOT in of_kind and Kind.ISSUING in of_kind:
        yield _chain(of_kind[Kind.ROOT], Kind.ISSUING.value, of_kind[Kind.ISSUING].certificate)
    for found in _certificates(connection, now):
        kind, der = found.intent.kind.value, found.der
        yield Sample(kind, Form.CERTIFICATE, _about(found), (der,))
        if found.intent.kind in (Kind.RESPONDER, Kind.AGENT):
            yield _chain(authorities[found.intent.issuer], kind, der)
    for record in authorities.values():
        yield from _lists(connection, record)


def answered(connection: Connection, url: str, now: datetime) -> Iterator[Sample]:
    """From the status service at `url`, as any client asks: good, revoked, never issued, with SHA-256 and a nonce.

    What it does not answer is not there. Raises `OSError` when nothing answers at all.
    """
    for plain, strong, about in _questions(connection, "live", now):
        yield from _asked("ocsp-good", url, plain, about)
        yield from _asked("ocsp-sha256-nonce", url, strong, about)
        yield from _asked("ocsp-never-issued", url, _of_nothing(plain), f"of {_NEVER_ISSUED:02x}")
    for plain, _, about in _questions(connection, "revoked", now):
        yield from _asked("ocsp-revoked", url, plain, about)


_Builder = ocsp.OCSPRequestBuilder


def _questions(connection: Connection, state: str, now: datetime) -> Iterator[tuple[_Builder, _Builder, str]]:
    """About the newest certificate in this state, if there is one: as RFC 5019 clients ask, and with SHA-256."""
    authorities = {record.id: record for record in issuers.everyone(connection)}
    for record in certificates.page(connection, Filter(state=state), now, limit=1):
        leaf = x509.load_der_x509_certificate(record.der)
        ca = x509.load_der_x509_certificate(authorities[record.intent.issuer].certificate)
        plain = _Builder().add_certificate(leaf, ca, hashes.SHA1())  # noqa: S303 (it names the CA, vouches for nothing)
        strong = _Builder().add_certificate(leaf, ca, hashes.SHA256())
        nonce = x509.OCSPNonce(os.urandom(32))
        yield plain, strong.add_extension(nonce, critical=False), f"of {record.intent.serial}"


def _lists(connection: Connection, record: IssuerRecord) -> Iterator[Sample]:
    """The full list, its delta, and of the shards the longest: that one has entries if any has."""
    shards = [heading for heading in crls.headings(connection, record.id) if heading.shard > FULL]
    longest = [max(shards, key=lambda heading: heading.entries).shard] if shards else []
    form = Form.ROOT_CRL if record.kind is Kind.ROOT else Form.CRL
    for number, what in ((FULL, "crl"), (DELTA, "crl-delta"), *((shard, "crl-shard") for shard in longest)):
        if (crl := crls.find(connection, record.id, number)) is not None:
            name = f"{record.kind.value}-{what}"
            yield Sample(name, form, f"{record.id}, list {number}, number {crl.number}", (crl.der,))


def _certificates(connection: Connection, now: datetime) -> Iterator[CertificateRecord]:
    """The last server, operator and responder certificate; of the recent agents' one of each sort.

    A sort is a kind of key, with a task or none, with pointers to its status or noRevAvail.
    """
    for kind in (Kind.RESPONDER, Kind.SERVER, Kind.OPERATOR):
        yield from certificates.page(connection, Filter(kind=kind), now, limit=1)
    agents = certificates.page(connection, Filter(kind=Kind.AGENT), now, limit=_RECENT_AGENTS)
    # Of several alike the newest comes first in the page, and so last here.
    yield from {
        (_key(found.der), found.intent.task is None, _is_brief(found.der)): found for found in reversed(agents)
    }.values()


def _chain(ca: IssuerRecord, kind: str, der: bytes) -> Sample:
    return Sample(f"{ca.kind.value}-{kind}", Form.CHAIN, f"under {ca.id}", (ca.certificate, der))


def _about(found: CertificateRecord) -> str:
    words = [str(found.intent.serial), _key(found.der)]
    if found.intent.task is not None:
        words.append(f"for task {found.intent.task}")
    if _is_brief(found.der):
        words.append("with noRevAvail")
    return ", ".join(words)


def _is_brief(der: bytes) -> bool:
    return NO_REV_AVAIL in [each.value for each in x509.load_der_x509_certificate(der).extensions]


def _key(der: bytes) -> str:
    key = x509.load_der_x509_certificate(der).public_key()
    return (
        key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__.removesuffix("PublicKey")
    )


def _of_nothing(like: _Builder) -> _Builder:
    """The same CA asked about a serial that it never assigned."""
    asked = like.build()
    return _Builder().add_certificate_by_hash(
        asked.issuer_name_hash, asked.issuer_key_hash, _NEVER_ISSUED, asked.hash_algorithm
    )


def _asked(name: str, url: str, builder: _Builder, about: str) -> Iterator[Sample]:
    body, header = builder.build().public_bytes(Encoding.DER), {"Content-Type": "application/ocsp-request"}
    question = urllib.request.Request(f"{url}/ocsp", body, header)  # noqa: S310 (our own URL, by configuration)
    with urllib.request.urlopen(question, timeout=_CALL_SECONDS) as answer:  # noqa: S310 (as above)
        der = bytes(answer.read())
    if ocsp.load_der_ocsp_response(der).response_status is ocsp.OCSPResponseStatus.SUCCESSFUL:
        yield Sample(name, Form.OCSP, about, (der,))
