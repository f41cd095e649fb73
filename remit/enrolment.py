"""An agent's first certificate: trust by the root's fingerprint, a key made here, one request."""

from __future__ import annotations

import hmac
import re
import ssl
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from remit.client import Client, Failed
from remit.files import Credential
from remit.keys import AgentKey

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The credential, and what the authority said of it."""

    credential: Credential
    answer: dict[str, Any]


def parsed_fingerprint(text: str) -> str:
    """The SHA-256 of a root as 64 lower-case digits; colons and upper case may be given. Raises `Failed`."""
    digits = text.replace(":", "").strip().lower()
    if not _FINGERPRINT.fullmatch(digits):
        raise Failed("The root's fingerprint is a SHA-256: 64 hexadecimal digits, as 'remit init' prints it.")
    return digits


def trusted_root(url: str, fingerprint: str, *, wait: float) -> bytes:
    """The authority's root in PEM, fetched without trust and accepted only if its SHA-256 is `fingerprint`.

    The fingerprint is 64 hexadecimal digits, with or without colons. Raises `Failed`.
    """
    wanted = parsed_fingerprint(fingerprint)
    untrusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    untrusting.check_hostname = False
    untrusting.verify_mode = ssl.CERT_NONE
    pem = Client(url, untrusting, wait=wait).fetch("/ca/root.pem")
    try:
        found = x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA256()).hex()
    except ValueError as error:
        raise Failed(f"{url} gave no root certificate; is it a Remit authority?") from error
    if not hmac.compare_digest(found, wanted):
        raise Failed(f"{url} has another root than expected (SHA-256 {found}); nothing was sent to it.")
    return pem


def enroll(url: str, fingerprint: str, token: str, *, asked: dict[str, Any], wait: float) -> Enrolled:
    """Makes a key and has it certified. `asked` may hold `task`, `scope` and `not_after`. Raises `Failed`."""
    root = trusted_root(url, fingerprint, wait=wait)
    context = ssl.create_default_context(cadata=root.decode())
    key = AgentKey.generate()
    answer = Client(url, context, wait=wait).call(
        "POST",
        "/v1/certificates",
        json={"csr": key.csr(), **asked},
        headers={"Authorization": f"Bearer {token}"},
    )
    return Enrolled(Credential(key.pem, answer["chain"].encode(), root), answer)
