"""When a certificate is tried to be renewed, and what its holder says of itself meanwhile.

Values in, decisions out: the clock and chance are passed in. Three rules hold whatever the authority says and
whoever's clock is wrong: never in a loop (there is a floor under every wait), never past what matters (no wait
takes more than half of what is left of the certificate), and never all at once (every wait is spread by chance).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

FLOOR = timedelta(seconds=1)
"""No two tries are closer, but for a try that a person asked for."""

CEILING = timedelta(minutes=1)
"""Backoff grows up to this."""

SELDOM = timedelta(minutes=5)
"""How often a refusal for good is asked again: a hold is released, an agent resumed, a clock put right."""

RARE = timedelta(seconds=30)
"""A refusal for good is not asked again sooner, however short the certificate's life."""

_FIRST = timedelta(seconds=1)
_DOUBLINGS = 6  # to CEILING and beyond; more would only overflow
_LATEST = 0.6
_SOONEST = 0.1


class State(StrEnum):
    """How it stands with a credential."""

    NONE = "none"
    """There is none yet; the first one is tried for."""
    FRESH = "fresh"
    """Held, and not yet to be renewed."""
    OVERDUE = "overdue"
    """Held and good, but it should have been renewed by now; it is tried again."""
    EXPIRED = "expired"
    """Past its end; a new one is still tried for."""
    REFUSED = "refused"
    """The authority said no for good (revoked, on hold, suspended, task or delegation ended); asked again seldom."""

    @property
    def usable(self) -> bool:
        """Whether the certificate is worth presenting."""
        return self in (State.FRESH, State.OVERDUE)


@dataclass(frozen=True, slots=True)
class Life:
    """A certificate's times. `since` is when its holder got it, by the holder's own clock."""

    not_before: datetime
    not_after: datetime
    renew_after: datetime
    since: datetime

    @property
    def due(self) -> datetime:
        """When it is to be renewed: `renew_after`, within bounds that hold with a clock that is minutes off.

        An agent whose clock is ahead would renew in a loop; one whose clock is behind, after the end.
        """
        soonest = self.since + max(FLOOR, (self.not_after - self.renew_after) * _SOONEST)
        latest = self.since + (self.not_after - self.not_before) * _LATEST
        return max(soonest, min(self.renew_after, latest))


@dataclass(frozen=True, slots=True)
class Failure:
    """What tries came to since the last success: how many failed, and how the last one did.

    `final` is a no for good; `retry_after` is what the authority asked for (RFC 9110 10.2.3).
    """

    count: int
    final: bool = False
    retry_after: timedelta | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError("a failure has happened at least once")


def state(life: Life | None, failure: Failure | None, now: datetime) -> State:
    """What is to be said of a credential, or of there being none yet."""
    if failure is not None and failure.final:
        return State.REFUSED
    if life is None:
        return State.NONE
    if now >= life.not_after:
        return State.EXPIRED
    return State.FRESH if now < life.due else State.OVERDUE


def next_try(life: Life | None, failure: Failure | None, now: datetime, chance: float) -> datetime:
    """When to ask for the next certificate, or the first; `failure` happened now, `chance` is in [0, 1)."""
    if failure is None:
        return max(now, life.due) if life else now
    left = life.not_after - now if life else timedelta(0)
    if failure.final:
        wait, floor = SELDOM * (0.8 + 0.4 * chance), RARE
    else:
        wait, floor = backoff(failure, chance), FLOOR
    if left > timedelta(0):
        wait = min(wait, left / 2)
    return now + max(wait, floor)


def backoff(failure: Failure, chance: float) -> timedelta:
    """Exponential with full jitter, on top of what the authority asked for; that is taken up to `SELDOM`."""
    growing = min(_FIRST * (1 << min(failure.count, _DOUBLINGS)), CEILING)
    asked = min(failure.retry_after or timedelta(0), SELDOM)
    return max(FLOOR, asked + growing * chance)
