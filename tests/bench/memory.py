"""The ceremony and the servers with their keys in memory: what issuance costs without a token.

    python -m tests.bench.memory ca.ceremony | ca.server | ocsp.server

runs that module with a signer that keeps its keys in the process, and in a file of the home, so that
a server has the keys of the ceremony. Nothing else differs from the module itself.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ca import assembly
from ca.config import Settings
from ca.hsm import KeyKind
from ca.pki.keys import PublicKey, spki
from tests.bench.keys import KEPT, kept_keys
from tests.memory_signer import MemorySigner


class KeptSigner(MemorySigner):
    """A `MemorySigner` with the calls of a token's owner, whose keys outlive the process and whose messages do not."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        self._file = home / KEPT
        self._keys.update({spki(key.public_key()): key for key in kept_keys(home)})

    def start(self) -> None:
        """There is nothing to open."""

    def close(self) -> None:
        """There is nothing to close."""

    def generate(self, label: str, kind: KeyKind = KeyKind.P256) -> PublicKey:
        """A new key, kept in the file too."""
        public = super().generate(label, kind)
        pem = self._keys[spki(public)].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with self._file.open("ab") as stream:
            stream.write(pem)
        return public

    def _sign(self, name: bytes, messages: Sequence[bytes]) -> list[bytes]:
        signatures = super()._sign(name, messages)
        # A server signs for hours: what it signed is not to be kept.
        self.signed.clear()
        return signatures


def main() -> int:
    """Runs the module that is named, with keys in memory; returns its exit status."""

    def signer(settings: Settings) -> KeptSigner:
        return KeptSigner(settings.home)

    assembly.signer = signer  # type: ignore[assignment] # the one seam where a signer is made
    module = importlib.import_module(sys.argv[1])
    if module.__name__ == "ocsp.server":
        # It knows its one key's room only, not the assembly.
        vars(module)["_open_token"] = signer
    return int(module.main())


if __name__ == "__main__":
    sys.exit(main())
