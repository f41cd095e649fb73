"""How an agent proves who it is at enrolment: a token given, a file that is read anew each time, or a function."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from remit.failed import Failed

ONE_TIME = "remit_et_"
"""With this begins a token that opens once, for one key."""


class Unproven(Failed):
    """There is nothing to prove who this is with; somebody has to bring it, so it is not worth waiting for at start."""


class Proofs:
    """Where proofs come from, and which of them cannot serve again."""

    def __init__(self, source: str | Path | Callable[[], str] | None) -> None:
        self._source = source
        self._spent: str | None = None

    def next(self) -> str | None:
        """A proof that may be sent; None where there is none, or no other than the one that was spent.

        Raises `Unproven` where it cannot be read.
        """
        try:
            proof = self._read().strip()
        except OSError as error:
            raise Unproven(f"The proof of identity cannot be read: {error}.") from error
        return proof if proof and proof != self._spent else None

    def was_taken(self, proof: str) -> None:
        """The authority gave a certificate for it; one of one use is not sent again."""
        if proof.startswith(ONE_TIME):
            self._spent = proof

    def _read(self) -> str:
        match self._source:
            case None:
                return ""
            case str():
                return self._source
            case Path():
                return self._source.read_text()
            case _:
                return _asked(self._source)


def _asked(source: Callable[[], str]) -> str:
    """What somebody else's code gives; why it fails may be a secret, so only its traceback says that."""
    try:
        return source()
    except Exception as error:
        raise Unproven(f"The proof of identity cannot be had: {type(error).__name__}.") from error
