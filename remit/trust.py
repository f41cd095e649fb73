"""Whom an agent trusts: the authority's root, given whole or known by its SHA-256 before anything is sent."""

from __future__ import annotations

import hmac
import re
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from remit.client import Client
from remit.failed import Failed

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


def parsed_fingerprint(text: str) -> str:
    """The SHA-256 of a root as 64 lower-case digits; colons and upper case may be given. Raises `Failed`."""
    digits = text.replace(":", "").strip().lower()
    if not _FINGERPRINT.fullmatch(digits):
        raise Failed("The root's fingerprint is a SHA-256: 64 hexadecimal digits, as 'remit init' prints it.")
    return digits


def fingerprint_of(pem: bytes) -> str:
    """The SHA-256 of a certificate in PEM, as `parsed_fingerprint` gives it. Raises `Failed`."""
    try:
        return x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA256()).hex()
    except ValueError as error:
        raise Failed("That is no root certificate in PEM.") from error


def fetched_root(url: str, fingerprint: str) -> bytes:
    """The authority's root in PEM, fetched without trust and accepted only if its SHA-256 is `fingerprint`.

    Raises `Failed`.
    """
    untrusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    untrusting.check_hostname = False
    untrusting.verify_mode = ssl.CERT_NONE
    with Client(url, untrusting) as client:
        pem = client.fetch("/ca/root.pem")
    try:
        found = fingerprint_of(pem)
    except Failed as error:
        raise Failed(f"{url} gave no root certificate; is it a Remit authority?") from error
    if not hmac.compare_digest(found, fingerprint):
        raise Failed(f"{url} has another root than expected (SHA-256 {found}); nothing was sent to it.", status=400)
    return pem


def context_of(root: bytes) -> ssl.SSLContext:
    """A client's context that trusts this root alone. Raises `Failed`."""
    try:
        return ssl.create_default_context(cadata=root.decode())
    except (ssl.SSLError, ValueError) as error:
        raise Failed("That is no root certificate in PEM.", status=400) from error
