"""The API's own TLS: its key, its certificate from this authority, and who may present one to it."""

from __future__ import annotations

import ipaddress
import os
import ssl
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from ca.authority import infrastructure
from ca.authority.authority import Authority
from ca.config import Settings
from ca.pki.keys import PublicKey, narrow
from ca.sections import split_listener


class Tls:
    """A server context whose certificate is renewed in place: new handshakes get the new one."""

    def __init__(self, settings: Settings, authority: Authority) -> None:
        self._authority = authority
        self._directory = settings.home / "tls"
        self._host = urlsplit(settings.public_url).hostname or "localhost"
        self._names = _names(self._host, split_listener(settings.listen)[0])
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._public_key = _key(self._directory / "tls.key")
        self._presented = b""
        self.context = _context(authority)

    async def renew(self) -> None:
        """Presents the certificate in force, a new one when it is time. Raises `Refused` when none can be had."""
        der = await infrastructure.ensure_server(self._authority, self._public_key, self._names, self._host)
        if der == self._presented:
            return
        chain = [x509.load_der_x509_certificate(der), self._authority.issuer.certificate]
        # Workers share the directory: each writes a file of its own, which then takes the place of the last one.
        draft = self._directory / f"tls.crt.{os.getpid()}"
        draft.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in chain))
        self.context.load_cert_chain(draft, self._directory / "tls.key")
        draft.replace(self._directory / "tls.crt")
        self._presented = der


def _context(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    # Enrolment comes without a certificate; whoever presents one must hold its key and chain to our root.
    context.verify_mode = ssl.CERT_OPTIONAL
    for ca in (authority.root, authority.issuer):
        context.load_verify_locations(cadata=ca.certificate.public_bytes(Encoding.DER))
    return context


def _key(file: Path) -> PublicKey:
    """The public half of the key in `file`, which is made (mode 0600) when it is not there."""
    if not file.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        draft = file.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(pem)
        with suppress(FileExistsError):  # another worker was quicker: its key is everybody's
            os.link(draft, file)
        draft.unlink()
    return narrow(load_pem_private_key(file.read_bytes(), None).public_key())


def _names(*hosts: str) -> tuple[x509.GeneralName, ...]:
    """The SANs under which the API is reached; on loopback also `localhost` (RFC 6761 6.3)."""
    names: list[x509.GeneralName] = []
    for host in dict.fromkeys([*hosts, "localhost"]):
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            names.append(x509.DNSName(host))
            continue
        if not address.is_unspecified:
            names.append(x509.IPAddress(address))
    return tuple(names)
