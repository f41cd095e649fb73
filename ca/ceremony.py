"""`python -m ca.ceremony`: makes the authority, once; run again, it mends what is missing and changes nothing else.

The token, the root, the issuing CA and the OCSP responder with their keys in the token, the
database, the first CRLs, and the credential of the first operator.
"""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ca import assembly
from ca.authority import hierarchy, infrastructure, operators
from ca.authority.authority import Authority
from ca.authority.hierarchy import Foundation
from ca.authority.issuance import Issued
from ca.config import Misconfigured, Settings
from ca.hsm import KeyKind, TokenFault
from ca.identifiers import OperatorName, Thumbprint
from ca.pki import csr
from ca.pki.certificate import Issuer
from ca.pki.profile import Kind
from ca.refusals import Refused
from ca.store import certificates, schema
from ca.store import operators as operator_store
from ca.store.operators import Role
from ca.store.transaction import Database
from softhsm.initialise import InitialisationFailed, ensure_token
from softhsm.locate import is_softhsm

ADMIN = OperatorName("admin")
_RENEW_BEFORE = timedelta(days=30)


async def hold(settings: Settings) -> Issuer:
    """The whole ceremony; returns the root.

    Raises `Misconfigured`, `TokenFault`, `InitialisationFailed`, `Refused`, `OSError`.
    """
    names = assembly.names(settings)
    assembly.known_keys(settings)  # A setting that is wrong is told of before anything is made.
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if is_softhsm(settings.module):
        ensure_token(
            settings.softhsm_directory,
            settings.pkcs11.token_label,
            settings.pin_file,
            settings.home / "so-pin",
            settings.module,
        )
    schema.upgrade(settings.database_url)
    database, signer = Database(settings.database_url), assembly.signer(settings)
    try:
        signer.start()
        foundation = Foundation(database, signer, names, settings.status_url, assembly.clock, os.urandom)
        root, issuer = _hierarchy(foundation, settings.pkcs11.key_kind)
        authority = assembly.authority(settings, database, signer, root, issuer)
        try:
            await _responder(authority, settings.pkcs11.key_kind)
            await _admin(settings, authority)
            await assembly.publisher(authority).publish()
        finally:
            authority.close()
        return root
    finally:
        signer.close()
        database.close()


def _hierarchy(foundation: Foundation, kind: KeyKind) -> tuple[Issuer, Issuer]:
    found = hierarchy.load(foundation.database, foundation.status_url)
    if found is not None:
        assembly.adopt(foundation.signer, *found)
        return found
    root_key = foundation.signer.generate(hierarchy.ROOT, kind)
    issuing_key = foundation.signer.generate(hierarchy.ISSUING, kind)
    return hierarchy.establish(foundation, root_key, issuing_key)


async def _responder(authority: Authority, kind: KeyKind) -> None:
    with authority.database.read() as connection:
        latest = certificates.latest(connection, Kind.RESPONDER, authority.issuer.id)
    if latest is None:
        key = authority.signer.generate(hierarchy.RESPONDER, kind)
        await infrastructure.ensure_responder(authority, key)
    else:
        await infrastructure.renew_responder(authority)


async def _admin(settings: Settings, authority: Authority) -> None:
    """The first operator's credential in `operators/admin`; a new one when it is lost or about to end."""
    directory = settings.home / "operators" / ADMIN
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / "ca.url").write_text(settings.public_url + "\n")
    if _is_good(authority, directory):
        return
    key = ec.generate_private_key(ec.SECP256R1())
    request = csr.parse(
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .sign(key, SHA256())
        .public_bytes(Encoding.DER)
    )
    with authority.database.read() as connection:
        known = operator_store.find(connection, ADMIN)
    if known is None:
        _, issued = await operators.add(authority, ADMIN, Role.ADMIN, request, "ceremony")
    else:
        issued = await operators.renew(authority, ADMIN, request, "ceremony")
    _write(directory, key, issued, authority)


def _is_good(authority: Authority, directory: Path) -> bool:
    try:
        held = x509.load_pem_x509_certificate((directory / "tls.crt").read_bytes())
    except (OSError, ValueError):
        return False
    with authority.database.read() as connection:
        record = certificates.by_thumbprint(connection, Thumbprint.of(held.public_bytes(Encoding.DER)))
    now = authority.clock()
    return record is not None and record.state(now) == "live" and record.intent.not_after - now > _RENEW_BEFORE


def _write(directory: Path, key: ec.EllipticCurvePrivateKey, issued: Issued, authority: Authority) -> None:
    chain = [x509.load_der_x509_certificate(issued.der), authority.issuer.certificate]
    files = {
        "tls.key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "tls.crt": b"".join(one.public_bytes(Encoding.PEM) for one in chain),
        "ca.crt": authority.root.certificate.public_bytes(Encoding.PEM),
    }
    for name, contents in files.items():
        draft = directory / f".{name}"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(contents)
        draft.replace(directory / name)


def main() -> int:
    """The command: prints the root's fingerprint; exits 1 with one sentence when something is in the way."""
    try:
        settings = Settings.load()
        root = asyncio.run(hold(settings))
    except (Misconfigured, TokenFault, InitialisationFailed, Refused, OSError) as error:
        sys.stderr.write(f"remit: {error}\n")
        return 1
    sys.stdout.write(
        f"The authority stands in {settings.home}.\n"
        f"Root: {root.certificate.subject.rfc4514_string()}\n"
        f"Root SHA-256 fingerprint: {root.certificate.fingerprint(SHA256()).hex()}\n"
        f"Operator credential: {settings.home / 'operators' / ADMIN}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
