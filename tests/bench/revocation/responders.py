"""Who answers: our status service and its replicas, the floor beneath it, and `openssl ocsp`. Each is one process."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.bench.process import wait_until_it_listens
from tests.bench.services import Ours
from tests.world import free_port

_STOP_SECONDS = 30


@dataclass
class Responder:
    """Where it answers, and its process."""

    ocsp_url: str
    pid: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The status service's own URL, without the path of OCSP."""
        return self.ocsp_url.removesuffix("/ocsp")

    def stop(self) -> None:
        """Ends what was started here."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(_STOP_SECONDS)


def own(ours: Ours) -> Responder:
    """The status service that runs beside the CA."""
    return Responder(f"{ours.status_url}/ocsp", ours.processes()["status service"])


def replica(ours: Ours) -> Responder:
    """One more status service on the same database and token."""
    port = free_port()
    environment = {**ours.environment, "REMIT_STATUS_LISTEN": f"127.0.0.1:{port}"}
    return _python("ocsp.server", port=port, ours=ours, environment=environment)


def floor(ours: Ours, question: bytes) -> Responder:
    """The bare application, which answers everything with what our service says to this question."""
    connection = http.client.HTTPConnection(urlsplit(ours.status_url).netloc)
    connection.request("POST", "/ocsp", question, {"Content-Type": "application/ocsp-request"})
    answer = connection.getresponse()
    said = {"headers": answer.getheaders(), "body": b64encode(answer.read()).decode()}
    connection.close()
    file = ours.directory / "said.json"
    file.write_text(json.dumps(said))
    port = free_port()
    module = "tests.bench.revocation.floor"
    return _python(module, str(port), str(file), port=port, ours=ours, environment=ours.environment)


def openssl(ours: Ours, issuer: x509.Certificate, serials: Sequence[bytes]) -> Responder:
    """OpenSSL's responder over an index of the same certificates: one thread, one request a connection.

    Its key is in a file, and its certificate its own: nobody here verifies what it signs.
    """
    directory = ours.directory / "openssl"
    directory.mkdir()
    now = datetime.now(UTC)  # noqa: TID251 (as anyone would write it)
    (directory / "issuer.pem").write_bytes(issuer.public_bytes(Encoding.PEM))
    (directory / "signer.pem").write_bytes(signatory(now))
    end = f"{now + timedelta(days=1):%y%m%d%H%M%SZ}"
    index = "".join(f"V\t{end}\t\t{serial.hex().upper()}\tunknown\t/CN={serial.hex()}\n" for serial in serials)
    (directory / "index.txt").write_text(index)
    port = free_port()
    command = ["openssl", "ocsp", "-port", str(port), "-index", "index.txt", "-CA", "issuer.pem"]
    command += ["-rsigner", "signer.pem", "-nmin", "60"]
    log = directory / "log"
    process = _process(command, directory, ours.environment, log)
    # A connection that asks nothing, such as a look whether it listens, blocks it for ever.
    while b"waiting" not in log.read_bytes():
        if process.poll() is not None:
            raise RuntimeError(f"openssl ocsp does not start:\n{log.read_text()}")
        time.sleep(0.05)
    return Responder(f"http://127.0.0.1:{port}/", process.pid, process)


def _python(module: str, *arguments: str, port: int, ours: Ours, environment: dict[str, str]) -> Responder:
    url, log = f"http://127.0.0.1:{port}/ocsp", ours.directory / f"{port}.log"
    process = _process([sys.executable, "-m", module, *arguments], ours.directory, environment, log)
    wait_until_it_listens(url, process, log)
    return Responder(url, process.pid, process)


def _process(command: list[str], directory: Path, environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as stream:
        return subprocess.Popen(command, env=environment, cwd=directory, stdout=stream, stderr=stream)


def signatory(now: datetime) -> bytes:
    """A key and the certificate that it signed for itself, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name.from_rfc4514_string("CN=responder")
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem + certificate.public_bytes(Encoding.PEM)
