"""What rules would do to requests that were made already, compared with what was done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from ca.policy.asking import Asking
from ca.policy.rules import Judgement, Rules

DENIED = timedelta(0)
"""The lifetime of what rules denied."""


class Change(StrEnum):
    """What would be, compared with what was."""

    DENIED = "denied"
    SHORTENED = "shortened"
    MORE = "more"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request, and the lifetime that it was granted: none at all where rules denied it."""

    asking: Asking
    granted: timedelta


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the rules say of one request."""

    recorded: Recorded
    judgement: Judgement

    @property
    def change(self) -> Change:
        was, would = self.recorded.granted, self.judgement.lifetime
        if would == was:
            return Change.SAME
        if not self.judgement.allowed:
            return Change.DENIED
        return Change.SHORTENED if would < was else Change.MORE


@dataclass(slots=True)
class Tally:
    """How many requests of each change, and how often each policy took something."""

    changes: Counter[Change] = field(default_factory=Counter)
    policies: Counter[str] = field(default_factory=Counter)

    def count(self, outcome: Outcome) -> None:
        self.changes[outcome.change] += 1
        if outcome.change in (Change.DENIED, Change.SHORTENED):
            self.policies.update(outcome.judgement.by)

    @property
    def takes(self) -> bool:
        """Whether somebody would have got less."""
        return bool(self.changes[Change.DENIED] or self.changes[Change.SHORTENED])


def tried(rules: Rules, requests: Iterable[Recorded]) -> Iterator[Outcome]:
    """Each request judged by the rules, at the time at which it was made."""
    for recorded in requests:
        yield Outcome(recorded, rules.judge(recorded.asking))
