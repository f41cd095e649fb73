"""CORE. An OCSP response: what is said of each certificate to the exact bytes (RFC 6960 4.2).

The library's builder answers one CertID and stamps the moment from its own clock; here time and
count are parameters. Its asn1 declarations do the DER.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any, Literal

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import OCSPExtensionOID

from ca.pki.keys import PublicKey, narrow
from ca.pki.signed import algorithm_identifier
from ocsp.request import Request, key_hash

_BASIC = x509.ObjectIdentifier("1.3.6.1.5.5.7.48.1.1")
_EXTENDED_REVOKE = x509.ObjectIdentifier("1.3.6.1.5.5.7.48.1.9")

# The library declares no ENUMERATED: responseStatus successful(0) as it stands in the DER.
_SUCCESSFUL = asn1.decode_der(asn1.TLV, b"\x0a\x01\x00")


@asn1.sequence
class _Algorithm:
    oid: x509.ObjectIdentifier
    parameters: asn1.Null | None


@asn1.sequence
class _Extension:
    oid: x509.ObjectIdentifier
    critical: Annotated[bool, asn1.Default(False)]
    value: bytes


@asn1.sequence
class _RevokedInfo:
    at: asn1.GeneralizedTime
    reason: Annotated[asn1.TLV, asn1.Explicit(0)]


@asn1.sequence
class _RevokedInfoWithoutReason:
    at: asn1.GeneralizedTime


@asn1.sequence
class _SingleResponse:
    certificate: asn1.TLV
    status: (
        Annotated[asn1.Variant[asn1.Null, Literal["good"]], asn1.Implicit(0)]
        | Annotated[asn1.Variant[_RevokedInfo, Literal["revoked"]], asn1.Implicit(1)]
        | Annotated[asn1.Variant[_RevokedInfoWithoutReason, Literal["revoked without a reason"]], asn1.Implicit(1)]
        | Annotated[asn1.Variant[asn1.Null, Literal["unknown"]], asn1.Implicit(2)]
    )
    this_update: asn1.GeneralizedTime
    next_update: Annotated[asn1.GeneralizedTime, asn1.Explicit(0)]


@asn1.sequence
class _ResponseData:
    responder: Annotated[bytes, asn1.Explicit(2)]
    produced_at: asn1.GeneralizedTime
    singles: list[_SingleResponse]
    extensions: Annotated[list[_Extension] | None, asn1.Explicit(1)]


@asn1.sequence
class _BasicResponse:
    tbs: asn1.TLV
    algorithm: _Algorithm
    signature: asn1.BitString
    certificates: Annotated[list[asn1.TLV], asn1.Explicit(0)]


@asn1.sequence
class _ResponseBytes:
    kind: x509.ObjectIdentifier
    response: bytes


@asn1.sequence
class _OcspResponse:
    status: asn1.TLV
    content: Annotated[_ResponseBytes, asn1.Explicit(0)]


class Plain(Enum):
    """A status that needs no more words."""

    GOOD = "good"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Revocation:
    """Revoked at this moment (whole seconds, UTC) for this reason."""

    at: datetime
    reason: x509.ReasonFlags


CertStatus = Plain | Revocation
"""What a response says of one certificate."""

GOOD, UNKNOWN = Plain.GOOD, Plain.UNKNOWN

NEVER_ISSUED = Revocation(datetime(1970, 1, 1, tzinfo=UTC), x509.ReasonFlags.certificate_hold)
"""RFC 6960 2.2: what a certificate that was never issued is said to be, where that is wanted."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a response is to say: the status of each certificate of the request, and from when until when.

    Times are whole seconds, UTC. The request's nonce is repeated (RFC 9654 2.1). `extended_revoke`
    declares that "revoked" may also mean "never issued" (RFC 6960 4.4.8).
    """

    request: Request
    statuses: tuple[CertStatus, ...]
    produced_at: datetime
    next_update: datetime
    extended_revoke: bool = False


@dataclass(frozen=True, slots=True)
class Signatory:
    """A delegated responder (RFC 6960 4.2.2.2): its certificate, and what of it stands in every answer."""

    certificate: x509.Certificate
    public_key: PublicKey = field(compare=False)
    key_hash: bytes = field(compare=False)
    algorithm: _Algorithm = field(compare=False)
    attached: asn1.TLV = field(compare=False)

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Signatory:
        """Raises `Refused` for a key that this authority does not sign with."""
        public_key = narrow(certificate.public_key())
        return cls(
            certificate=certificate,
            public_key=public_key,
            key_hash=key_hash(certificate),
            algorithm=_algorithm(public_key),
            attached=asn1.decode_der(asn1.TLV, certificate.public_bytes(Encoding.DER)),
        )


def response_data(signatory: Signatory, contents: Contents) -> bytes:
    """The ResponseData to be signed. Raises `ValueError` for more or fewer statuses than certificates."""
    moment, end = asn1.GeneralizedTime(contents.produced_at), asn1.GeneralizedTime(contents.next_update)
    return asn1.encode_der(
        _ResponseData(
            responder=signatory.key_hash,
            produced_at=moment,
            singles=[
                _SingleResponse(
                    certificate=asn1.decode_der(asn1.TLV, certificate.der),
                    status=_status(status),
                    this_update=moment,
                    next_update=end,
                )
                for certificate, status in zip(contents.request.certificates, contents.statuses, strict=True)
            ],
            extensions=_extensions(contents) or None,
        )
    )


def response(tbs: bytes, signature: bytes, signatory: Signatory) -> bytes:
    """The whole OCSPResponse: the signed ResponseData with the responder's certificate beside it."""
    basic = _BasicResponse(
        tbs=asn1.decode_der(asn1.TLV, tbs),
        algorithm=signatory.algorithm,
        signature=asn1.BitString(signature, 0),
        certificates=[signatory.attached],
    )
    content = _ResponseBytes(kind=_BASIC, response=asn1.encode_der(basic))
    return asn1.encode_der(_OcspResponse(status=_SUCCESSFUL, content=content))


def refusal(status: ocsp.OCSPResponseStatus) -> bytes:
    """An OCSPResponse that says only why there is no answer (RFC 6960 2.3); it is never signed."""
    return ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)


def _algorithm(key: PublicKey) -> _Algorithm:
    """What this key signs with (RFC 6960 4.2.1)."""
    return asn1.decode_der(_Algorithm, algorithm_identifier(key))


def _status(status: CertStatus) -> asn1.Variant[Any, Any]:
    """The reason `unspecified` is left out (RFC 5280 5.3.1)."""
    if not isinstance(status, Revocation):
        return asn1.Variant(asn1.Null(), status.value)
    moment = asn1.GeneralizedTime(status.at)
    if status.reason is x509.ReasonFlags.unspecified:
        return asn1.Variant(_RevokedInfoWithoutReason(at=moment), "revoked without a reason")
    value = asn1.decode_der(asn1.TLV, x509.CRLReason(status.reason).public_bytes())
    return asn1.Variant(_RevokedInfo(at=moment, reason=value), "revoked")


def _extensions(contents: Contents) -> list[_Extension]:
    found = []
    nonce = contents.request.nonce
    if nonce is not None:
        found.append(_Extension(oid=OCSPExtensionOID.NONCE, critical=False, value=asn1.encode_der(nonce)))
    if contents.extended_revoke:
        found.append(_Extension(oid=_EXTENDED_REVOKE, critical=False, value=asn1.encode_der(asn1.Null())))
    return found
