"""What the other rooms know of a signer: its calls, its health, and how it says that it cannot.

There are two: `ca.hsm.owner.Owner` over a token, and one in memory for tests. This module does not
import PKCS#11, so neither does who names a `Signer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from ca.pki.keys import PublicKey
from ca.refusals import Reason, Refused


class TokenFault(Refused):
    """The token cannot do what was asked: nothing was signed.

    `str()` is one sentence for the operator, with the mend; `detail`, which callers of the API
    read, names no label and no path.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(Reason.UNAVAILABLE, "The signing key cannot be used at the moment; try again later.")
        self.sentence = sentence

    def __str__(self) -> str:
        return self.sentence


class KeyKind(StrEnum):
    """The kinds of key that a signer can generate, where its module can."""

    P256 = "P-256"
    P384 = "P-384"
    ED25519 = "Ed25519"
    RSA_2048 = "RSA-2048"
    RSA_3072 = "RSA-3072"
    RSA_4096 = "RSA-4096"
    ML_DSA_44 = "ML-DSA-44"
    ML_DSA_65 = "ML-DSA-65"
    ML_DSA_87 = "ML-DSA-87"


class State(StrEnum):
    """How much of a signer works: all of it, some of its keys, nothing."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Health:
    """What a signer can do now, and why in one sentence."""

    state: State
    sentence: str


class Signer(Protocol):
    """Signs with keys that are named by their public halves. Every method may be called from any thread."""

    def generate(self, label: str, kind: KeyKind) -> PublicKey:
        """Makes a key that can never leave, adopts it, and returns its public half.

        A label is for people: two keys may share one. Blocks. Raises `TokenFault`.
        """

    def adopt(self, label: str, public_key: PublicKey) -> None:
        """Makes the key with this public half ready to sign, after checking that it is the one and is well kept.

        Blocks. Raises `TokenFault`; then the key stays unusable.
        """

    def sign(self, public_key: PublicKey, messages: Sequence[bytes]) -> Future[list[bytes]]:
        """Signatures over `messages`, in their order, as X.509 carries them (see `ca.pki.keys.verify`).

        Never blocks. All or nothing: the future holds every signature or a `TokenFault`, which it
        holds already on return while the signer is down. The caller verifies before use.
        """

    def distrust(self, public_key: PublicKey, why: str) -> None:
        """Takes the key out of service at once, because a signature that it gave does not verify.

        Never blocks; `why` is one sentence for the operator. From now on `sign` with this key gives a
        `TokenFault` and `health` says so, until the key was found again by its public half and
        signed a test that verifies. Of a key that was not adopted nothing is remembered.
        """

    def health(self) -> Health:
        """What works now. Never blocks."""
