"""OCSP requests as a client sends them: one CertID by SHA-1, as most do, with a nonce or without."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterable, Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from ocsp.request import issuer_hashes

_SERIAL = b"\x01" + bytes(18)
_NONCE = bytes(31) + b"\x01"


def questions(issuer: x509.Certificate, serials: Iterable[bytes], *, nonces: bool = False) -> Iterator[bytes]:
    """DER of one request for each serial of 19 octets; each nonce is another one of 32 octets (RFC 9654)."""
    model = _model(issuer, nonces=nonces)
    for serial in serials:
        one = model.replace(_SERIAL, serial)
        yield one.replace(_NONCE, os.urandom(len(_NONCE))) if nonces else one


def write(file: Path, asked: Iterable[bytes]) -> Path:
    """For the load generator: base64, one a line."""
    file.write_bytes(b"\n".join(map(b64encode, asked)))
    return file


def _model(issuer: x509.Certificate, *, nonces: bool) -> bytes:
    _, name_hash, key_hash = next(issuer_hashes(issuer))
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        name_hash, key_hash, int.from_bytes(_SERIAL, "big"), hashes.SHA1()
    )
    if nonces:
        builder = builder.add_extension(x509.OCSPNonce(_NONCE), critical=False)
    return builder.build().public_bytes(Encoding.DER)
