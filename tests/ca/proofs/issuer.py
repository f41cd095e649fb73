"""An issuer on loopback: a real HTTPS server with its metadata and keys, and JWTs shaped as others make them."""

from __future__ import annotations

import json
import ssl
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from joserfc import jws
from joserfc.jwk import ECKey, Key, RSAKey

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
AUDIENCE = "https://ca.example"
DISCOVERY = "/.well-known/openid-configuration"
JSON = "application/json"

EC = ECKey.generate_key("P-256", {"kid": "ec-1", "use": "sig", "alg": "ES256"})
OTHER_EC = ECKey.generate_key("P-256", {"kid": "ec-2"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa-1", "use": "sig", "alg": "RS256"})


def signed(
    claims: dict[str, Any], key: Key = EC, alg: str = "ES256", header: dict[str, Any] | None = None, kid: bool = True
) -> str:
    """A JWT as an issuer would sign it, or as none would: nothing about its header is checked."""
    protected = {"alg": alg, **({"kid": key.kid} if kid and key.kid else {}), **(header or {})}
    text = b".".join(urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (protected, claims))
    bare = type(key).import_key(key.raw_value)
    signature = jws.JWSRegistry.algorithms[alg].sign(text, bare)
    return f"{text.decode()}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def claims(issuer: str, now: datetime = NOW, **changed: Any) -> dict[str, Any]:
    """The least that is asked for; a claim of None is left out."""
    begun = int(now.timestamp())
    made = {"iss": issuer, "sub": "planner", "aud": AUDIENCE, "iat": begun, "exp": begun + 300, **changed}
    return {name: value for name, value in made.items() if value is not None}


def kubernetes(issuer: str, now: datetime = NOW, account: str = "planner", **changed: Any) -> dict[str, Any]:
    """A projected service-account token's claims, as Kubernetes 1.33 makes them."""
    begun = int(now.timestamp())
    return {
        "aud": [AUDIENCE],
        "exp": begun + 3600,
        "iat": begun,
        "iss": issuer,
        "jti": "0a1c6d4e-3f3c-4f39-9d0e-1d6f0d1b7f11",
        "kubernetes.io": {
            "namespace": "agents",
            "node": {"name": "worker-1", "uid": "c1f0b2f4-6f0e-4f0e-8f58-2c7b3d1e9a10"},
            "pod": {"name": f"{account}-7c9d-abcde", "uid": "5e0b1c2d-9a8b-4c7d-8e6f-1a2b3c4d5e6f"},
            "serviceaccount": {"name": account, "uid": "d3b07384-d9a0-4c9b-8f3e-2f1a0b9c8d7e"},
        },
        "nbf": begun,
        "sub": f"system:serviceaccount:agents:{account}",
        **changed,
    }


@dataclass(frozen=True)
class Certified:
    """A CA for TLS on loopback, in files."""

    root: Path
    chain: Path
    key: Path


def certified(directory: Path, *names: str) -> Certified:
    """A self-signed root and, of it, a certificate for these host names and addresses."""
    began = datetime(2026, 1, 1, tzinfo=UTC)

    def builder(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        name, by = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (subject, issuer))
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(by)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(began)
            .not_valid_after(began + timedelta(days=36500))
        )

    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = (
        builder("issuer root", "issuer root", root_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        builder(names[0], "issuer root", key)
        .add_extension(x509.SubjectAlternativeName([_name(one) for one in names]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    files = Certified(directory / "issuer-root.pem", directory / "issuer.pem", directory / "issuer.key")
    files.root.write_bytes(root.public_bytes(Encoding.PEM))
    files.chain.write_bytes(leaf.public_bytes(Encoding.PEM))
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)


@dataclass
class Answer:
    """What is answered at a path: a body, or what writes one to the handler itself."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": JSON})
    write: Callable[[BaseHTTPRequestHandler], None] | None = None


class Issuer:
    """A server whose answers a test may change. It remembers who asked for what, and each connection."""

    def __init__(self, tls: Certified, name: str = "issuer.test") -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.connections = 0
        self.server = self._served()
        self.port = int(self.server.server_address[1])
        self.url = f"https://{name}:{self.port}"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.chain, tls.key)
        self._context = context
        self.publish(EC, RSA)

    def publish(self, *keys: Key, metadata: str = DISCOVERY, **changed: Any) -> None:
        """Metadata, and these keys' public halves."""
        document = {"issuer": self.url, "jwks_uri": f"{self.url}/jwks", **changed}
        self.answers[metadata] = Answer(document)
        self.answers["/jwks"] = Answer({"keys": [key.as_dict(private=False) for key in keys]})

    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [path for path, _ in self.asked]

    def _served(self) -> ThreadingHTTPServer:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                issuer.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                answer = issuer.answers.get(self.path, Answer({}, 404))
                if answer.write is not None:
                    answer.write(self)
                    return
                body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing is written to the tests' output."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def get_request(self) -> tuple[Any, Any]:
                connection, address = super().get_request()
                issuer.connections += 1
                return connection, address

            def finish_request(self, request: Any, client_address: Any) -> None:
                try:
                    wrapped = issuer._context.wrap_socket(request, server_side=True)
                    with wrapped:
                        self.RequestHandlerClass(wrapped, client_address, self)
                except OSError:
                    pass  # whoever asked did not like the certificate, or hung up

            def handle_error(self, *_: object) -> None:
                """As above."""

        return Server(("127.0.0.1", 0), Handler)


@contextmanager
def running(issuer: Issuer) -> Iterator[Issuer]:
    """Serves until the end of the block."""
    thread = threading.Thread(target=lambda: issuer.server.serve_forever(0.02), daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        issuer.server.shutdown()
        issuer.server.server_close()
        thread.join()
