"""A certificate signing request (RFC 2986): what is taken from it is a proven key, and nothing else.

The subject and the SAN in it are only compared with the identity that policy computed. Whatever
else it asks for is refused if it could matter (a CA, another usage, another name) and ignored
otherwise; nothing of it is ever copied into a certificate.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from ca.identifiers import SpiffeId, Thumbprint
from ca.pki.keys import InvalidSignature, PublicKey, narrow, spki
from ca.refusals import Reason, Refused

MAX_OCTETS = 8 * 1024
"""Of DER. In PEM or base64 it takes a third more, and line ends."""

_MAX_SPELLED_OCTETS = MAX_OCTETS * 3 // 2

# Everything that the library says of a request it cannot read.
_UNREADABLE = (
    *(ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature),
    *(x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType),
)

_PEM_BEGIN = b"-----BEGIN CERTIFICATE REQUEST-----"
_PEM_END = b"-----END CERTIFICATE REQUEST-----"
_MALFORMED = "The CSR is not a PKCS #10 request: send PEM, or base64 of DER, signed with the key it carries."


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """A key whose holder proved possession, and the names that the request asked for."""

    public_key: PublicKey
    key_thumbprint: Thumbprint
    subject: x509.Name
    alternative_names: tuple[x509.GeneralName, ...] | None


def parse(raw: bytes) -> CertificateRequest:
    """Reads PEM, base64 or DER of at most 8 KiB, and checks the proof of possession (RFC 2986 3).

    Raises `Refused`: TOO_LARGE, CSR_MALFORMED, KEY_REFUSED, CSR_UNPROVEN, CSR_EXTENSION.
    """
    try:
        request = x509.load_der_x509_csr(_der(raw))
        public_key = narrow(request.public_key())
        encoded = spki(public_key)
        _check_spelling(request, encoded)
        _check_hash(request)
        proven = request.is_signature_valid
        names, subject = _requested_names(request), request.subject
    except _UNREADABLE as error:
        raise Refused(Reason.CSR_MALFORMED, _MALFORMED) from error
    if not proven:
        raise Refused(Reason.CSR_UNPROVEN, "The CSR's signature does not verify with the key it carries.")
    return CertificateRequest(
        public_key=public_key,
        key_thumbprint=Thumbprint.of(encoded),
        subject=subject,
        alternative_names=names,
    )


def check_identity(request: CertificateRequest, subject: x509.Name, spiffe_id: SpiffeId) -> None:
    """A name in the request must be empty or the computed one, exactly.

    Raises `Refused(CSR_IDENTITY)`.
    """
    if list(request.subject) and request.subject != subject:
        raise Refused(
            Reason.CSR_IDENTITY,
            f"The CSR's subject must be empty or {subject.rfc4514_string()}, in that order; nothing else is issued.",
        )
    expected = (x509.UniformResourceIdentifier(str(spiffe_id)),)
    if request.alternative_names is not None and request.alternative_names != expected:
        raise Refused(Reason.CSR_IDENTITY, f"The CSR's SAN must be absent or the one URI {spiffe_id}.")


def _der(raw: bytes) -> bytes:
    """DER of at most 8 KiB from DER, PEM or bare base64. Raises `ValueError`, `Refused(TOO_LARGE)`."""
    if len(raw) > _MAX_SPELLED_OCTETS:
        raise _too_large()
    der = raw if raw[:1] == b"\x30" else _decoded(raw)
    if len(der) > MAX_OCTETS:
        raise _too_large()
    return der


def _decoded(raw: bytes) -> bytes:
    text = raw.strip()
    if text.startswith(_PEM_BEGIN) and text.endswith(_PEM_END):
        text = text[len(_PEM_BEGIN) : -len(_PEM_END)]
    try:
        return b64decode(b"".join(text.split()), validate=True)
    except binascii.Error as error:
        raise ValueError("neither DER nor base64") from error


def _too_large() -> Refused:
    return Refused(Reason.TOO_LARGE, f"A CSR has at most {MAX_OCTETS} octets of DER.")


def _check_spelling(request: x509.CertificateSigningRequest, encoded: bytes) -> None:
    """A key has one encoding here (RFC 5480 2.2, RFC 3279 2.3.1): the one that its digest is taken of."""
    if encoded not in request.tbs_certrequest_bytes:
        raise Refused(
            Reason.KEY_REFUSED,
            "The key is not encoded as RFC 5480 and RFC 3279 say; send a point uncompressed, on a named curve.",
        )


def _check_hash(request: x509.CertificateSigningRequest) -> None:
    if isinstance(request.signature_hash_algorithm, hashes.MD5 | hashes.SHA1 | hashes.SHA224):
        raise Refused(Reason.CSR_UNPROVEN, "The CSR is signed with a hash that proves nothing; use SHA-256 or better.")


def _requested_names(request: x509.CertificateSigningRequest) -> tuple[x509.GeneralName, ...] | None:
    """The SAN that the request asks for, if any; refuses what asks for more than an end entity gets."""
    names = None
    for extension in request.extensions:
        match extension.value:
            case x509.SubjectAlternativeName():
                names = tuple(extension.value)
            case x509.BasicConstraints() if not extension.value.ca:
                pass
            case x509.KeyUsage() if not (extension.value.key_cert_sign or extension.value.crl_sign):
                pass
            case x509.ExtendedKeyUsage() if set(extension.value) == {ExtendedKeyUsageOID.CLIENT_AUTH}:
                pass
            case x509.SubjectKeyIdentifier():
                pass
            case _:
                raise Refused(
                    Reason.CSR_EXTENSION,
                    f"The CSR asks for extension {extension.oid.dotted_string} in a form that is never issued; "
                    "leave it out: the certificate's contents come from the registry.",
                )
    return names
