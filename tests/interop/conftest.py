"""What every client in this directory is shown: one live and one revoked certificate of a running service.

The service is the real one, and so are the clients. A client that is not on the machine is
skipped by name; nothing here imitates one.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tests.interop.subject import Subject, crl_url_of, fetch_crl, subject, write

CRL_PATIENCE_SECONDS = 10.0
CLIENT_TIMEOUT_SECONDS = 120.0
JDK = "a JDK of version 17 or later (Debian: default-jdk-headless, Homebrew: openjdk)"
# On macOS `openssl` is LibreSSL, which answers other questions; Homebrew's stands here.
HOMEBREW = ("/opt/homebrew/opt/openssl@3/bin/openssl", "/usr/local/opt/openssl@3/bin/openssl")

Run = Callable[..., subprocess.CompletedProcess[str]]
FindTool = Callable[..., str]


@dataclass(frozen=True)
class Subjects:
    """All that a relying party holds after one of two agents was revoked."""

    live: Subject
    revoked: Subject
    root: Path
    issuing: Path
    trust: Path
    """Root and issuing CA in one file, for clients that build no chain to an OCSP signer."""
    namesake: Path
    """Another root of the very same name with another key, which vouches for nothing here."""
    root_crl: Path
    issuing_crl: Path
    """The lists of the issuing CA that the two name, in one PEM file."""
    crls: Path
    """Both levels' CRLs in one PEM file, for clients that check every level."""
    full_crls: Path
    """The same with the issuing CA's full list, for clients that hold one list of an issuer."""


@pytest.fixture(scope="session")
def subjects(world: Any, tmp_path_factory: pytest.TempPathFactory) -> Subjects:
    """Enrols two agents, revokes one for keyCompromise, and waits until the CRL that it names lists it."""
    folder = tmp_path_factory.mktemp("interop")
    root = x509.load_pem_x509_certificate(Path(world.root_pem).read_bytes())
    live = subject(folder / "live", _chain(world.enrol(agent="interop-live").cert))
    enrolled = world.enrol(agent="interop-revoked")
    revoked = subject(folder / "revoked", _chain(enrolled.cert))
    done = world.cli("revoke", enrolled.serial, "--reason", "keyCompromise")
    assert done.returncode == 0, done.stdout + done.stderr
    issuing = _chain(live.presented)[1]
    full_crl = _crl_that_lists(revoked, f"{world.status_url}/crl/issuing-1.crl")
    issuing_crls = {revoked.crl_url: _crl_that_lists(revoked, revoked.crl_url)}
    issuing_crls.setdefault(live.crl_url, fetch_crl(live.crl_url))
    root_crl = fetch_crl(crl_url_of(issuing))
    return Subjects(
        live=live,
        revoked=revoked,
        root=write(folder / "root.pem", root),
        issuing=write(folder / "issuing.pem", issuing),
        trust=write(folder / "trust.pem", root, issuing),
        namesake=write(folder / "namesake.pem", _namesake(root)),
        root_crl=write(folder / "root-crl.pem", root_crl),
        issuing_crl=write(folder / "issuing-crl.pem", *issuing_crls.values()),
        crls=write(folder / "crls.pem", *issuing_crls.values(), root_crl),
        full_crls=write(folder / "full-crls.pem", full_crl, root_crl),
    )


def _chain(presented: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(presented.read_bytes())


def _namesake(root: x509.Certificate) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(root.subject)
        .issuer_name(root.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(root.not_valid_before_utc)
        .not_valid_after(root.not_valid_after_utc)
    )
    for extension in root.extensions:
        other = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        own = isinstance(extension.value, x509.SubjectKeyIdentifier)
        builder = builder.add_extension(other if own else extension.value, extension.critical)
    return builder.sign(key, hashes.SHA256())


def _crl_that_lists(revoked: Subject, url: str) -> x509.CertificateRevocationList:
    deadline = time.monotonic() + CRL_PATIENCE_SECONDS
    while time.monotonic() < deadline:
        crl = fetch_crl(url)
        if crl.get_revoked_certificate_by_serial_number(revoked.certificate.serial_number):
            return crl
        time.sleep(0.1)
    pytest.fail(f"the CRL at {url} does not list the revoked certificate after {CRL_PATIENCE_SECONDS} s")


@pytest.fixture
def brief(world: Any, tmp_path: Path) -> Subject:
    """One whose certificate says that no revocation is available (RFC 9608)."""
    return subject(tmp_path / "brief", world.enrol_briefly())


@pytest.fixture(scope="session")
def find_tool() -> FindTool:
    """`find_tool("certtool", ..., install="...")`: the first of the names that is on this machine, or a skip."""

    def find(*names: str, install: str) -> str:
        for name in names:
            if path := shutil.which(name):
                return path
        pytest.skip(f"{names[-1]} is not on this machine; install {install}")

    return find


@pytest.fixture(scope="session")
def run() -> Run:
    """Runs a client to its end and keeps its words; the exit status is the caller's to judge."""

    def start(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        words = [str(word) for word in command]
        return subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=CLIENT_TIMEOUT_SECONDS,
            **options,
        )

    return start


@pytest.fixture(scope="session")
def openssl(find_tool: FindTool, run: Run) -> str:
    """OpenSSL 3."""
    path = find_tool(*HOMEBREW, "openssl", install="OpenSSL 3 (Debian: openssl, Homebrew: openssl@3)")
    version = run(path, "version").stdout
    if not version.startswith("OpenSSL 3"):
        pytest.skip(f"{path} is {version.strip()}; install OpenSSL 3 (Debian: openssl, Homebrew: openssl@3)")
    return path


@pytest.fixture(scope="session")
def java(find_tool: FindTool, run: Run) -> str:
    """A JDK, which compiles what it runs."""
    path = find_tool("java", install=JDK)
    modules = run(path, "--list-modules")
    # Running a source file needs the compiler, which a runtime-only package leaves out; on macOS
    # /usr/bin/java without a JDK is a stub that fails here.
    if "jdk.compiler" not in modules.stdout:
        pytest.skip(f"{path} cannot run a source file; install {JDK}")
    return path
