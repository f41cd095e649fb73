"""A real OpenID provider (oidc-provider, of the lock in `oidc/`) on loopback, and what it gives to its clients."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from joserfc.jwk import ECKey, RSAKey

from tests.ca.proofs.issuer import Certified
from tests.world import free_port

HERE = Path(__file__).parent / "oidc"
_SECRET = "a secret of 32 octets for a client"


def cache() -> Path:
    """Where `deploy/test` installs what the lock names: outside the checkout."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "remit" / "oidc"


class OpenId:
    """A running provider. Its clients are `planner`, `racer` and `worker`, its keys one of P-256 and one of RSA."""

    def __init__(self, issuer: str, tls: Certified) -> None:
        self.issuer = issuer
        self._tls = ssl.create_default_context(cafile=tls.root)

    def token(self, client: str, resource: str, scope: str = "read") -> str:
        """A JWT access token by client credentials (RFC 6749 4.4) for this resource (RFC 8707)."""
        form = {"grant_type": "client_credentials", "resource": resource, "scope": scope}
        with httpx2.Client(verify=self._tls, trust_env=False) as http:
            answer = http.post(f"{self.issuer}/token", data=form, auth=(client, _SECRET))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])


def _is_new(node: str) -> bool:
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    return int(version.strip().lstrip("v").partition(".")[0]) >= 20


@contextmanager
def running(
    tls: Certified,
    alg: str = "ES256",
    *,
    clients: Sequence[dict[str, Any]] = (),
    trust: Path | None = None,
    nonces: bool = False,
) -> Iterator[OpenId]:
    """Skips where Node.js or the provider is not on this machine.

    `clients` are more of them; with `trust`, a root, they may show certificates of it (RFC 8705) and use DPoP
    (RFC 9449), with `nonces` with one of the provider's in each proof.
    """
    node, module = shutil.which("node"), cache() / "node_modules" / "oidc-provider" / "lib" / "index.js"
    if node is None or not _is_new(node) or not module.exists():
        pytest.skip("Node.js 20 or its oidc-provider is not on this machine; ./deploy/test installs them")
    issuer = f"https://localhost:{free_port()}"
    keys = [
        ECKey.generate_key("P-256", {"kid": "ec", "use": "sig", "alg": "ES256"}),
        RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig", "alg": "RS256"}),
    ]
    settings = {
        "module": module.as_uri(),
        "issuer": issuer,
        "alg": alg,
        "keys": [key.as_dict(private=True) for key in keys],
        "clients": [{"client_id": name, "client_secret": _SECRET} for name in ("planner", "racer", "worker")]
        + list(clients),
        "trust": str(trust) if trust else None,
        "nonces": nonces,
        "key": str(tls.key),
        "chain": str(tls.chain),
    }
    provider = subprocess.Popen(
        [node, HERE / "provider.mjs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert provider.stdin is not None
    assert provider.stdout is not None
    assert provider.stderr is not None
    try:
        provider.stdin.write(json.dumps(settings) + "\n")
        provider.stdin.flush()
        assert provider.stdout.readline() == "ready\n", provider.stderr.read()
        yield OpenId(issuer, tls)
    finally:
        provider.stdin.close()
        provider.wait(10)
        provider.stdout.close()
        provider.stderr.close()
