"""The real thing for tests: a home with a SoftHSM token, the ceremony held, and both services running.

Nothing in it is a stand-in: the ceremony, the servers and the command run as their own processes,
as a user would run them.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

CHECKOUT = Path(__file__).parent.parent
START_SECONDS = 30
CALL_SECONDS = 30
JSON = "application/json"
BRIEF_SECONDS = 100

_NUMBERS = count(1)


@dataclass(frozen=True)
class Enrolled:
    """What `remit enroll` left for an agent."""

    agent: str
    dir: Path
    serial: str

    @property
    def cert(self) -> Path:
        """The leaf and the issuing CA."""
        return self.dir / "tls.crt"

    @property
    def key(self) -> Path:
        """The private key."""
        return self.dir / "tls.key"


class World:
    """One home and what runs on it. `settings` are environment variables beside those it makes itself."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self.directory = directory
        self.home = directory / "home"
        api, status = free_port(), free_port()
        self.api_url, self.status_url = f"https://127.0.0.1:{api}", f"http://127.0.0.1:{status}"
        foreign = {name: value for name, value in os.environ.items() if not name.startswith(("REMIT_", "SOFTHSM"))}
        self.environment = {
            **foreign,
            "PYTHONPATH": str(CHECKOUT),
            "REMIT_HOME": str(self.home),
            "REMIT_LISTEN": f"127.0.0.1:{api}",
            "REMIT_STATUS_LISTEN": f"127.0.0.1:{status}",
            **settings,
        }
        self._services: list[subprocess.Popen[bytes]] = []

    def init(self) -> World:
        """Holds the ceremony."""
        done = self.cli("init")
        assert done.returncode == 0, done.stdout + done.stderr
        return self

    def start(self) -> World:
        """Starts both services and waits until they are ready."""
        with (self.directory / "service.log").open("ab") as log:
            self._services = [
                subprocess.Popen(
                    [sys.executable, "-m", module], env=self.environment, cwd=self.directory, stdout=log, stderr=log
                )
                for module in ("ca.server", "ocsp.server")
            ]
        self._wait_until_ready()
        return self

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ends both services; with SIGKILL, as a crash would."""
        for service in self._services:
            service.send_signal(how)
        for service in self._services:
            service.wait(CALL_SECONDS)
        self._services = []

    @contextmanager
    def another_status_service(self) -> Iterator[str]:
        """One more, on a port of its own, whether the others run or not; its URL."""
        listen = f"127.0.0.1:{free_port()}"
        environment = self.environment | {"REMIT_STATUS_LISTEN": listen, "REMIT_STATUS_URL": self.status_url}
        with (self.directory / "service.log").open("ab") as log:
            command = [sys.executable, "-m", "ocsp.server"]
            service = subprocess.Popen(command, env=environment, cwd=self.directory, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _answers(f"http://{listen}/healthz", None):
                assert time.monotonic() < deadline, self.log()
                time.sleep(0.05)
            yield f"http://{listen}"
        finally:
            service.terminate()
            service.wait(CALL_SECONDS)

    def service_ids(self) -> tuple[int, ...]:
        """Process ids: the CA's, the status service's."""
        return tuple(service.pid for service in self._services)

    def run_server(self) -> subprocess.CompletedProcess[str]:
        """Runs the CA, which ends by itself because it cannot start."""
        command = [sys.executable, "-m", "ca.server"]
        return subprocess.run(
            command,
            env=self.environment,
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=CALL_SECONDS,
        )

    def cli(self, *arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs the `remit` command as the admin."""
        command = [sys.executable, "-c", "from remit.cli import main; main()", *map(str, arguments)]
        return subprocess.run(
            command,
            env=self.environment,
            cwd=self.directory,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=CALL_SECONDS,
        )

    def json(self, *arguments: str | Path) -> Any:
        """What the command answers with `--json`; the command must succeed."""
        done = self.cli(*arguments, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def operator(self, name: str = "admin") -> httpx2.Client:
        """A client of the API with an operator's credential."""
        return self.client(self.home / "operators" / name)

    def client(self, credential: Path | None = None) -> httpx2.Client:
        """A client of the API that trusts this root, with the credential in that directory or none."""
        context = ssl.create_default_context(cafile=str(self.root_pem))
        if credential is not None:
            context.load_cert_chain(credential / "tls.crt", credential / "tls.key")
        return httpx2.Client(base_url=self.api_url, verify=context, timeout=CALL_SECONDS, trust_env=False)

    @property
    def root_pem(self) -> Path:
        """The trust anchor."""
        return self.home / "operators" / "admin" / "ca.crt"

    @property
    def root_fingerprint(self) -> str:
        """SHA-256 of the root, as `init` prints it."""
        return x509.load_pem_x509_certificate(self.root_pem.read_bytes()).fingerprint(hashes.SHA256()).hex()

    def token(self, agent: str, **body: Any) -> str:
        """A new enrolment token for an agent that there is."""
        with self.operator() as operator:
            answer = operator.post("/v1/enrollment-tokens", json={"agent": agent, **body})
            assert answer.status_code == 201, answer.text
            return str(answer.json()["token"])

    def new_agent(self, **body: Any) -> str:
        """Registers an agent of a name that no other test has."""
        name = body.pop("id", None) or f"agent-{next(_NUMBERS)}"
        with self.operator() as operator:
            answer = operator.post("/v1/agents", json={"id": name, **body})
            assert answer.status_code == 201, answer.text
        return name

    def new_task(self, agent: str, **body: Any) -> str:
        """Opens a task for an agent."""
        with self.operator() as operator:
            answer = operator.post("/v1/tasks", json={"agent": agent, **body})
            assert answer.status_code == 201, answer.text
            return str(answer.json()["id"])

    def post_csr(self, token: str, csr: bytes, **body: Any) -> httpx2.Response:
        """`POST /v1/certificates` as an agent."""
        with self.client() as agent:
            headers = {"Authorization": f"Bearer {token}"}
            return agent.post("/v1/certificates", json={"csr": csr.decode(), **body}, headers=headers)

    def soon(self, **apart: float) -> str:
        """A moment from now, as RFC 3339 writes it."""
        return f"{datetime.now(UTC) + timedelta(**apart):%Y-%m-%dT%H:%M:%SZ}"  # noqa: TID251 (as an agent would write it)

    def enrol_briefly(self) -> list[x509.Certificate]:
        """A new agent's certificate that lives for less than `BRIEF_SECONDS`, and the issuing CA's."""
        end = self.soon(seconds=BRIEF_SECONDS - 10)
        token, csr = self.token(self.new_agent()), key_and_csr()[1]
        answer = self.post_csr(token, csr, not_after=end)
        assert answer.status_code == 201, answer.text
        return x509.load_pem_x509_certificates(answer.json()["chain"].encode())

    def enrol(self, agent: str | None = None, task: str | None = None) -> Enrolled:
        """Registers an agent and enrols it with the command, as its start-up script would."""
        name = self.new_agent(**({"id": agent} if agent else {}))
        token = self.token(name, **({"task": task} if task else {}))
        directory = self.directory / "agents" / name
        file = self.directory / f"{name}.token"
        file.write_text(token)
        enrolled = self.json(
            "enroll",
            *("--ca", self.api_url, "--root-fingerprint", self.root_fingerprint),
            *("--token-file", file, "--dir", directory),
        )
        return Enrolled(name, directory, enrolled["serial"])

    def log(self) -> str:
        """What both services wrote."""
        return (self.directory / "service.log").read_text()

    def _wait_until_ready(self) -> None:
        context = ssl.create_default_context(cafile=str(self.root_pem))
        deadline = time.monotonic() + START_SECONDS
        for url in (f"{self.api_url}/readyz", f"{self.status_url}/readyz"):
            while not _answers(url, context if url.startswith("https") else None):
                assert time.monotonic() < deadline, f"{url} is not ready:\n{self.log()}"
                assert all(service.poll() is None for service in self._services), self.log()
                time.sleep(0.05)


def key_and_csr(subject: str | None = None) -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    """A new P-256 key and its CSR in PEM, with an empty subject or the RFC 4514 one."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name.from_rfc4514_string(subject) if subject else x509.Name([])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return key, request.public_bytes(Encoding.PEM)


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(url: str, context: ssl.SSLContext | None) -> bool:
    try:
        with urllib.request.urlopen(url, context=context, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
