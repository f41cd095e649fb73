"""The keys that this process adopted, and those that it distrusts: the same for every session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from threading import Lock
from time import monotonic

from ca.hsm.signer import TokenFault
from ca.pki.keys import PublicKey, spki

_OUT_OF_SERVICE = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)  # seconds at least, by how often it was distrusted
_FORGIVEN_AFTER = 3600.0  # seconds without a doubt after which it counts as the first again


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """A key that was adopted. One that came back into service is another object: no handle from before is used."""

    label: str
    public_key: PublicKey


@dataclass(frozen=True, slots=True, eq=False)
class Doubt:
    """Why a key is out of service, and until when at least."""

    why: str
    times: int
    since: float
    until: float


class Register:
    """Any thread may read it, and distrust; the owner's thread alone wants, restores and says what is missing.

    Every mapping is replaced, never changed, so that reading takes no lock.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._doubts: Mapping[bytes, Doubt] = {}
        self._past: Mapping[bytes, Doubt] = {}
        self.everyone: Mapping[bytes, Wanted] = {}
        self.missing: Mapping[bytes, str] = {}

    def want(self, label: str, public_key: PublicKey) -> Wanted:
        """Wants this key from now on."""
        wanted = Wanted(label, public_key)
        with self._lock:
            self.everyone = {**self.everyone, spki(public_key): wanted}
        return wanted

    def usable(self, name: bytes) -> Wanted:
        """The key whose SubjectPublicKeyInfo is `name`. Raises `TokenFault` if it is unknown, missing or distrusted."""
        wanted = self.everyone.get(name)
        if wanted is None:
            raise TokenFault("The key was not adopted by this process; nothing was signed.")
        if doubt := self._doubts.get(name):
            raise TokenFault(f"{doubt.why} Nothing was signed.")
        if name in self.missing:
            raise TokenFault(f"The key {wanted.label!r} is missing from the token; nothing was signed.")
        return wanted

    def distrust(self, name: bytes, why: str) -> Doubt | None:
        """Takes a key out of service; None if it is not known, or out of service already."""
        with self._lock:
            wanted, last, now = self.everyone.get(name), self._past.get(name), monotonic()
            if wanted is None or name in self._doubts:
                return None
            times = last.times + 1 if last and now - last.since < _FORGIVEN_AFTER else 1
            until = now + _OUT_OF_SERVICE[min(times, len(_OUT_OF_SERVICE)) - 1]
            doubt = Doubt(f"The key {wanted.label!r} is out of service: {why}", times, now, until)
            self._doubts, self._past = {**self._doubts, name: doubt}, {**self._past, name: doubt}
            return doubt

    def doubt(self, name: bytes) -> Doubt | None:
        """Why this key is out of service, if it is."""
        return self._doubts.get(name)

    def restore(self, name: bytes) -> Wanted:
        """Back into service, after it was found anew and its test signature verified."""
        with self._lock:
            known = self.everyone[name]
            self._doubts = {other: doubt for other, doubt in self._doubts.items() if other != name}
            wanted = Wanted(known.label, known.public_key)
            self.everyone = {**self.everyone, name: wanted}
            return wanted

    def faults(self) -> tuple[str, ...]:
        """Why which keys do not sign, a sentence each."""
        return (*(doubt.why for doubt in self._doubts.values()), *self.missing.values())

    def next_trial(self) -> float:
        """When the first of the distrusted keys may be tried again, by the monotonic clock."""
        return min((doubt.until for doubt in self._doubts.values()), default=inf)
