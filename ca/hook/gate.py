"""A gateway's question: may the holder of this certificate make this call here, now?

The answer is for a proxy, which passes a request on or does not. When it cannot be decided, it does not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum

from ca.authority.authority import Authority
from ca.hook import answers
from ca.hook.answers import Answer
from ca.hook.inquiry import ByListener, Inquiry, OfThumbprint
from ca.hook.lookups import Lookups
from ca.policy import binding, calls
from ca.policy.binding import Denied, Wanted, Why
from ca.policy.calls import Call, Place
from ca.policy.reach import Narrower


class Fault(StrEnum):
    """Why a call does not pass, beside what is wrong with its certificate (`ca.policy.binding.Why`)."""

    MISSING = "certificate_missing"
    MALFORMED = "certificate_malformed"
    CALL_MALFORMED = "call_malformed"
    TOOL = "tool_out_of_scope"
    PATH = "path_unknown"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Passed:
    """It may: what whoever serves the call is told of its caller."""

    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Barred:
    """It may not, and why. `is_unproven`: another certificate might do, and it is not that this one may not."""

    why: Why | Fault

    @property
    def is_unproven(self) -> bool:
        """Whether this is 401 rather than 403."""
        return self.why in _UNPROVEN


_UNPROVEN: frozenset[Why | Fault] = frozenset(
    {Fault.MISSING, Fault.MALFORMED, Why.UNKNOWN, Why.UNTRUSTED, Why.EXPIRED, Why.NOT_YET_VALID}
)


class Gate:
    """Asks and decides. Nothing is kept from one call to the next."""

    def __init__(self, authority: Authority, lookups: Lookups, place: Place) -> None:
        self._authority = authority
        self._lookups = lookups
        self._place = place
        here = None if place.resource is None else (place.resource,)
        self._wanted = Wanted(narrower=Narrower(resources=here))

    async def ask(self, about: OfThumbprint, call: Call) -> Passed | Barred:
        """Raises `Refused(UNAVAILABLE)`."""
        found = await self._lookups.ask(Inquiry(ByListener(), about))
        subject, now = found.subject, self._authority.clock()
        if subject is None:
            return Barred(answers.unknown(foreign=found.foreign).why)
        decision = binding.decide(subject.standing, self._wanted, now, self._authority.token_lifetime)
        if isinstance(decision, Denied):
            return Barred(decision.why)
        if not calls.permits(subject.standing, decision.reach, call, self._place):
            return Barred(Fault.TOOL)
        return Passed(_headers(answers.allowed(self._authority, subject, decision, now)))


def _headers(answer: Answer) -> dict[str, str]:
    """Always all of them: one that were left out would let a client's own of that name through."""
    return {
        "X-Agent-Id": answer["sub"],
        "X-Agent-Client-Id": answer["client_id"],
        "X-Agent-X5t-S256": answer["cnf"]["x5t#S256"],
        "X-Agent-Task": answer["task"]["id"] if "task" in answer else "",
        "X-Agent-Scope": answer["scope"],
        "X-Agent-Act": json.dumps(answer["act"], separators=(",", ":")) if "act" in answer else "",
        "X-Agent-Exp": str(answer["exp"]),
    }
