"""Somebody who holds a certificate that was asked for over the API alone, and asks for more with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.world import World, key_and_csr


@dataclass(frozen=True)
class Holder:
    """Somebody with a certificate and its key in a directory."""

    world: World
    directory: Path
    answer: dict[str, Any]

    def post(self, path: str, **body: Any) -> tuple[httpx2.Response, Holder | None]:
        """What is answered to a new key's CSR, and whoever holds what came of it."""
        key, csr = key_and_csr()
        with self.world.client(self.directory) as client:
            answer = client.post(path, json={"csr": csr.decode(), **body})
        return answer, held(self.world, key, answer) if answer.status_code == 201 else None


def held(world: World, key: Any, answer: httpx2.Response) -> Holder:
    body = answer.json()
    directory = world.directory / "holders" / body["serial"]
    directory.mkdir(parents=True)
    (directory / "tls.crt").write_text(body["chain"])
    (directory / "tls.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return Holder(world, directory, body)


def enrolled(world: World, principal: dict[str, str] | None = None, **agent: Any) -> Holder:
    name = world.new_agent(scope="read write", **agent)
    task = world.new_task(name, scope="read write", resources=["https://a.example"], principal=principal)
    key, csr = key_and_csr()
    return held(world, key, world.post_csr(world.token(name, task=task), csr))
