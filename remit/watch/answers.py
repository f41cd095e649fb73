"""CORE. OCSP: the question, and the bytes of an answer at a moment to a finding (RFC 6960 3.2, RFC 5019, RFC 9654)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from remit.watch.chain import UNREADABLE, ended, extension
from remit.watch.finding import CLOCK_TOLERANCE, Finding, Kind, Life, State, Terms, critical, staleness, worst

_SERVICE = "see that the status service and its signer are well ('remit doctor')."
_RESPONDER = Terms(warning=0.75, critical=0.9)
"""The authority renews the responder's certificate when a third of its life is left."""


@asn1.sequence
class _SubjectPublicKeyInfo:
    algorithm: asn1.TLV
    key: asn1.BitString


@dataclass(frozen=True, slots=True)
class Question:
    """About one certificate, by its serial and issuer. GET asks by SHA-1 without nonce (RFC 5019 2.1.1)."""

    serial: int
    issuer: x509.Certificate
    algorithm: hashes.HashAlgorithm
    nonce: bytes | None = None

    @property
    def der(self) -> bytes:
        """The OCSPRequest."""
        builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(*self.identity, self.serial, self.algorithm)
        if self.nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(self.nonce), critical=False)
        return builder.build().public_bytes(Encoding.DER)

    @property
    def identity(self) -> tuple[bytes, bytes]:
        """issuerNameHash and issuerKeyHash (RFC 6960 4.1.1)."""
        spki = self.issuer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        key = asn1.decode_der(_SubjectPublicKeyInfo, spki).key.as_bytes()
        return _hashed(self.issuer.subject.public_bytes(), self.algorithm), _hashed(key, self.algorithm)


@dataclass(frozen=True, slots=True)
class Case:
    """An answer: how and where it was had, what was asked, and which status is expected ("any" for whichever)."""

    der: bytes
    kind: Kind
    url: str
    question: Question
    expected: str
    now: datetime


def judge(case: Case, terms: Terms) -> Finding:
    """The finding. An answer that is not signed by who may is believed in nothing."""
    try:
        return _judge(ocsp.load_der_ocsp_response(case.der), case, terms)
    except UNREADABLE:
        return critical(case.kind, case.url, "It is not an OCSP answer in DER; see what serves this URL.")


def _judge(response: ocsp.OCSPResponse, case: Case, terms: Terms) -> Finding:
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        said = response.response_status.name.lower()
        return critical(case.kind, case.url, f"The responder answers {said} and nothing else; {_SERVICE}")
    responder = _signatory(response)
    if responder is None:
        return critical(case.kind, case.url, "It does not carry the responder's certificate; clients need it there.")
    forged = tuple(_forgeries(response, responder, case))
    if forged:
        return critical(case.kind, case.url, *forged)
    single = _single(response, case.question)
    if single is None:
        return critical(
            case.kind, case.url, "It answers for another certificate than was asked; see what serves this URL."
        )
    return _finding(response, single, responder, case, terms)


def _finding(
    response: ocsp.OCSPResponse,
    single: ocsp.OCSPSingleResponse,
    responder: x509.Certificate,
    case: Case,
    terms: Terms,
) -> Finding:
    status = single.certificate_status.name.lower()
    faults = tuple(_faults(response, single, status, case))
    life = Life(single.this_update_utc, single.next_update_utc) if single.next_update_utc else None
    state, stale = staleness(life, terms, case.now, _SERVICE) if life else (State.CRITICAL, ())
    renewal = Life(responder.not_valid_before_utc, responder.not_valid_after_utc)
    renewed, overdue = staleness(renewal, _RESPONDER, case.now, "see that the CA runs, it renews it ('remit doctor').")
    return Finding(
        case.kind,
        case.url,
        worst([state, renewed, State.CRITICAL if faults else State.FRESH]),
        (*faults, *stale, *(f"Of the responder's certificate: {one}" for one in overdue)),
        life=life,
        used=life.used(case.now) if life else None,
        status=status,
        not_after=renewal.until,
    )


def _forgeries(response: ocsp.OCSPResponse, responder: x509.Certificate, case: Case) -> Iterator[str]:
    """RFC 6960 4.2.2.2: a delegated responder of the same CA signed it."""
    try:
        _verify(responder.public_key(), response)
    except (*UNREADABLE, InvalidSignature):
        yield "Its signature is not by the responder that it names: it was changed on the way; see what serves it."
    try:
        responder.verify_directly_issued_by(case.question.issuer)
    except (*UNREADABLE, InvalidSignature):
        yield "Its responder was not certified by the CA that issued the certificate; see what serves this URL."
    purposes = extension(responder, x509.ExtendedKeyUsage)
    if purposes is None or ExtendedKeyUsageOID.OCSP_SIGNING not in purposes:
        yield "Its signer is no delegated responder (extendedKeyUsage without OCSPSigning); clients refuse it."
    yield from ended(responder, case.now)


def _faults(response: ocsp.OCSPResponse, single: ocsp.OCSPSingleResponse, status: str, case: Case) -> Iterator[str]:
    """RFC 6960 3.2, 4.2.2.1, RFC 9654 2.1: what it says, from when until when, and to whom."""
    if case.expected not in ("any", status):
        yield f"It says {status} where {case.expected} is expected; if that is right, say --expect {status}."
    if single.this_update_utc > case.now + CLOCK_TOLERANCE:
        yield f"It begins in the future, at {single.this_update_utc:%Y-%m-%dT%H:%M:%SZ}; set the clocks right."
    if single.next_update_utc is None:
        yield f"It does not say until when it holds (nextUpdate), so it would be believed for ever; {_SERVICE}"
    if case.question.nonce is not None and _nonce(response) != case.question.nonce:
        yield "It does not repeat the nonce of the question, so it may be an old answer; see what serves this URL."


def _signatory(response: ocsp.OCSPResponse) -> x509.Certificate | None:
    """The certificate that the answer carries and names as the responder's."""
    for one in response.certificates:
        if response.responder_name is not None and one.subject == response.responder_name:
            return one
        key = x509.SubjectKeyIdentifier.from_public_key(one.public_key())
        if response.responder_key_hash == key.digest:
            return one
    return None


def _single(response: ocsp.OCSPResponse, question: Question) -> ocsp.OCSPSingleResponse | None:
    wanted = (question.serial, *question.identity)
    for one in response.responses:
        if (one.serial_number, one.issuer_name_hash, one.issuer_key_hash) == wanted:
            return one
    return None


def _verify(key: Any, response: ocsp.OCSPResponse) -> None:
    signature, signed, algorithm = response.signature, response.tbs_response_bytes, response.signature_hash_algorithm
    match key, algorithm:
        case ec.EllipticCurvePublicKey(), hashes.HashAlgorithm():
            key.verify(signature, signed, ec.ECDSA(algorithm))
        case rsa.RSAPublicKey(), hashes.HashAlgorithm():
            key.verify(signature, signed, padding.PKCS1v15(), algorithm)
        case _:  # Ed25519 and ML-DSA sign without a digest of their own
            key.verify(signature, signed)


def _nonce(response: ocsp.OCSPResponse) -> bytes | None:
    try:
        return response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    except x509.ExtensionNotFound:
        return None


def _hashed(octets: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
    digest = hashes.Hash(algorithm)
    digest.update(octets)
    return digest.finalize()
