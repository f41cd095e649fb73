"""A strict resource server on loopback: tokens of one issuer, for itself, bound to a certificate or a key, or 401."""

from __future__ import annotations

import json
import ssl
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
from joserfc import jws, jwt
from joserfc.jwk import KeySet, import_key

from tests.ca.proofs.issuer import Certified


class Resource:
    """`seen` has the claims of each token that was taken, `refused` why others were not."""

    def __init__(self, tls: Certified, issuer: str, clients: Path, *, nonce: str | None = None) -> None:
        with httpx2.Client(verify=ssl.create_default_context(cafile=tls.root), trust_env=False) as http:
            self.keys = KeySet.import_key_set(http.get(f"{issuer}/jwks").json())
        self.issuer, self.nonce = issuer, nonce
        self.seen: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self.proofs: set[str] = set()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.chain, tls.key)
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_OPTIONAL
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"resource": self}))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}"

    def check(self, method: str, path: str, headers: Any, certificate: bytes) -> None:
        """Raises `AssertionError` with what is wrong."""
        scheme, _, token = (headers.get("authorization") or "").partition(" ")
        assert token, "no token"
        found = jwt.decode(token, self.keys, algorithms=["ES256"])
        claims = found.claims
        assert claims["iss"] == self.issuer, "another issuer's"
        assert claims["aud"] == self.url, f"for {claims['aud']}"
        bound = claims.get("cnf", {})
        if "x5t#S256" in bound:
            assert bound["x5t#S256"] == base64url(certificate), "of another certificate"
        if "jkt" in bound:
            assert scheme == "DPoP", "a bound token as a bearer's"
            self._check_proof(headers["dpop"], method, path, token, bound["jkt"])
        self.seen.append(claims)

    def _check_proof(self, proof: str, method: str, path: str, token: str, thumbprint: str) -> None:
        """RFC 9449 4.3."""
        header = jws.extract_compact(proof.encode()).headers()
        assert header["typ"] == "dpop+jwt"
        key = import_key(header["jwk"])
        claims = jwt.decode(proof, key, algorithms=["ES256"]).claims
        assert key.thumbprint() == thumbprint, "by another key"
        assert (claims["htm"], claims["htu"]) == (method, self.url + path.partition("?")[0]), "for another request"
        assert claims["ath"] == base64url(token.encode()), "with another token"
        assert claims.get("nonce") == self.nonce, "without the nonce"
        assert claims["jti"] not in self.proofs, "shown before"
        self.proofs.add(claims["jti"])


class _Handler(BaseHTTPRequestHandler):
    resource: Resource
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self._answer()

    def _answer(self) -> None:
        one = self.resource
        certificate = self.connection.getpeercert(True) or b""
        try:
            one.check(self.command, self.path, self.headers, certificate)
        except AssertionError as wrong:
            one.refused.append(str(wrong).partition("\n")[0])
            self.send_response(401)
            error = "use_dpop_nonce" if "nonce" in str(wrong) else "invalid_token"
            self.send_header("WWW-Authenticate", f'{"DPoP" if one.nonce else "Bearer"} error="{error}"')
            if one.nonce:
                self.send_header("DPoP-Nonce", one.nonce)
        else:
            self.send_response(200)
        body = json.dumps({"ok": True}).encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        pass


def base64url(octets: bytes) -> str:
    return urlsafe_b64encode(sha256(octets).digest()).rstrip(b"=").decode()


@contextmanager
def serving(tls: Certified, issuer: str, clients: Path, **options: Any) -> Iterator[Resource]:
    resource = Resource(tls, issuer, clients, **options)
    threading.Thread(target=resource.server.serve_forever, daemon=True).start()
    try:
        yield resource
    finally:
        resource.server.shutdown()
        resource.server.server_close()
