"""The keys that a process adopted: which it wants, and which of them the token gave so far."""

from __future__ import annotations

from dataclasses import dataclass

import pkcs11

from ca.hsm.keys import SigningKey, find
from ca.hsm.signer import TokenFault
from ca.pki.keys import PublicKey, spki


@dataclass(frozen=True, slots=True)
class _Wanted:
    label: str
    public_key: PublicKey


class Keyring:
    """Remembers keys by their public half, so that they can be found again after every handle was lost.

    Written by the owner's thread alone; `missing` is replaced, never changed, so any thread may read it.
    """

    def __init__(self) -> None:
        self._wanted: dict[bytes, _Wanted] = {}
        self._found: dict[bytes, SigningKey] = {}
        self.missing: tuple[str, ...] = ()

    def put(self, key: SigningKey) -> None:
        """Wants this key from now on."""
        name = spki(key.public_key)
        self._wanted[name] = _Wanted(key.label, key.public_key)
        self._found[name] = key

    def key(self, name: bytes) -> SigningKey:
        """The key whose SubjectPublicKeyInfo is `name`. Raises `TokenFault`."""
        try:
            return self._found[name]
        except KeyError:
            wanted = self._wanted.get(name)
            why = f"{wanted.label!r} is missing from the token" if wanted else "was not adopted by this process"
            raise TokenFault(f"The key {why}; nothing was signed.") from None

    def forget_handles(self) -> None:
        """After a loss: an old handle may name another key now."""
        self._found = {}

    def prove(self) -> None:
        """Every key that has a handle signs a test. Raises `TokenFault` or `PKCS11Error` at the first that cannot."""
        for key in self._found.values():
            key.prove()

    def find_missing(self, session: pkcs11.Session) -> None:
        """Looks for every wanted key that has no handle, with all checks; `missing` then says which are not there."""
        missing = []
        for name, wanted in self._wanted.items():
            if name not in self._found:
                try:
                    self._found[name] = find(session, wanted.label, wanted.public_key)
                except TokenFault as fault:
                    missing.append(fault.sentence)
        self.missing = tuple(missing)
