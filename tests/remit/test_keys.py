"""The key that a file holds, in whatever form it was found."""

from __future__ import annotations

from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from remit.keys import AgentKey, spki_sha256

KEY = AgentKey.generate()
SPKI = KEY.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
CSR = x509.load_pem_x509_csr(KEY.csr().encode())
FORMS = {
    "CSR, PEM": KEY.csr().encode(),
    "CSR, DER": CSR.public_bytes(Encoding.DER),
    "public, DER": SPKI,
    "public, PEM": KEY.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    "private, PEM": KEY.pem,
    "private, DER": KEY.private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
    "private, as OpenSSL wrote it": KEY.private.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    ),
}


@pytest.mark.parametrize("raw", FORMS.values(), ids=FORMS.keys())
def test_every_form_of_a_key_has_the_same_digest(raw: bytes) -> None:
    assert spki_sha256(raw) == sha256(SPKI).hexdigest()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"key",
        b"\x30\x00",
        KEY.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")),
    ],
    ids=["empty", "text", "empty DER", "encrypted"],
)
def test_another_file_has_none(raw: bytes) -> None:
    assert spki_sha256(raw) is None
