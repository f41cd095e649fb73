"""The handles that one session of the token gave for the keys of the register."""

from __future__ import annotations

from time import monotonic

import pkcs11

from ca.hsm.keys import SigningKey, find
from ca.hsm.register import Register, Wanted
from ca.hsm.signer import TokenFault
from ca.pki.keys import spki


class Keyring:
    """Of the one thread that has the session. No handle of it outlives a loss of the token or a doubt about the key."""

    def __init__(self, register: Register) -> None:
        self._register = register
        self._found: dict[bytes, tuple[Wanted, SigningKey]] = {}

    def put(self, key: SigningKey) -> None:
        """Wants this key from now on."""
        self._found[spki(key.public_key)] = self._register.want(key.label, key.public_key), key

    def key(self, name: bytes) -> SigningKey:
        """The key whose SubjectPublicKeyInfo is `name`. Raises `TokenFault`."""
        wanted = self._register.usable(name)
        key = self._handle(name, wanted)
        if key is None:
            raise TokenFault(f"The key {wanted.label!r} is missing from the token; nothing was signed.")
        return key

    def find(self, session: pkcs11.Session, name: bytes) -> SigningKey:
        """The same, looked for with all checks and a test signature where this session has no handle yet."""
        wanted = self._register.usable(name)
        key = self._handle(name, wanted)
        if key is None:
            key = find(session, wanted.label, wanted.public_key)
            self._found[name] = wanted, key
        return key

    def forget_handles(self) -> None:
        """After a loss: an old handle may name another key now."""
        self._found = {}

    def prove(self) -> None:
        """Every key that has a handle signs a test. Raises `TokenFault` or `PKCS11Error` at the first that cannot."""
        for name, (wanted, key) in self._found.items():
            # One in doubt is known to be wrong; that is no reason to close the token for the others.
            if self._register.everyone.get(name) is wanted and self._register.doubt(name) is None:
                key.prove()

    def find_missing(self, session: pkcs11.Session) -> None:
        """Looks for every wanted key that has no handle, and for the distrusted ones whose time has come.

        The register's `missing` then says which are not there.
        """
        missing = {}
        for name, wanted in self._register.everyone.items():
            try:
                self._find_one(session, name, wanted)
            except TokenFault as fault:
                missing[name] = fault.sentence
        self._register.missing = missing

    def _find_one(self, session: pkcs11.Session, name: bytes, wanted: Wanted) -> None:
        doubt = self._register.doubt(name)
        if doubt is None:
            if self._handle(name, wanted) is None:
                self._found[name] = wanted, find(session, wanted.label, wanted.public_key)
        elif doubt.until <= monotonic():
            # A key in doubt cannot be doubted anew, so what is proved here is what comes back.
            key = find(session, wanted.label, wanted.public_key)
            self._found[name] = self._register.restore(name), key

    def _handle(self, name: bytes, wanted: Wanted) -> SigningKey | None:
        found = self._found.get(name)
        return found[1] if found and found[0] is wanted else None
