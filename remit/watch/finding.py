"""What was found of one published thing, and on which terms it is fresh."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum

CLOCK_TOLERANCE = timedelta(seconds=60)
"""How far another's clock may be ahead of ours."""


class State(IntEnum):
    """How it is, and its number in the metrics; only `FRESH` is well."""

    FRESH = 0
    WARNING = 1
    CRITICAL = 2


class Kind(StrEnum):
    """What was looked at: a certificate that is watched, an issuer's, a list, an OCSP answer by GET or by POST."""

    CERTIFICATE = "certificate"
    ISSUER = "issuer"
    CRL = "crl"
    OCSP_GET = "ocsp-get"
    OCSP_POST = "ocsp-post"


@dataclass(frozen=True, slots=True)
class Terms:
    """The share of its life after which something is a warning, and critical; 0 to 1."""

    warning: float = 0.5
    critical: float = 0.75


@dataclass(frozen=True, slots=True)
class Life:
    """thisUpdate and nextUpdate, or notBefore and notAfter; UTC."""

    since: datetime
    until: datetime

    def used(self, now: datetime) -> float:
        """The share of the life that is over: 0 at its start, 1 and more past its end."""
        whole = (self.until - self.since).total_seconds()
        return max(0.0, (now - self.since).total_seconds() / whole) if whole > 0 else 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One published thing at one moment. `sentences` say what is wrong and the mend; none when it is fresh.

    `not_after` is the end of a certificate: of the one that was looked at, or of an answer's responder.
    """

    kind: Kind
    url: str
    state: State
    sentences: tuple[str, ...] = ()
    life: Life | None = None
    used: float | None = None
    number: int | None = None
    entries: int | None = None
    status: str | None = None
    not_after: datetime | None = None


def critical(kind: Kind, url: str, *sentences: str) -> Finding:
    """Of something that could not be judged any further."""
    return Finding(kind, url, State.CRITICAL, sentences)


def staleness(life: Life, terms: Terms, now: datetime, mend: str) -> tuple[State, tuple[str, ...]]:
    """How much of its life is over. Past its end it is critical whatever the terms."""
    if now >= life.until:
        return State.CRITICAL, (f"It ran out at {life.until:%Y-%m-%dT%H:%M:%SZ}; {mend}",)
    used = life.used(now)
    for state, share in ((State.CRITICAL, terms.critical), (State.WARNING, terms.warning)):
        if used >= share:
            ends = f"it runs out at {life.until:%Y-%m-%dT%H:%M:%SZ}"
            return state, (f"{used:.0%} of its life is over and {ends}; {mend}",)
    return State.FRESH, ()


def worst(states: Iterable[State]) -> State:
    """The worst of them; `FRESH` of none."""
    return max(states, default=State.FRESH)
