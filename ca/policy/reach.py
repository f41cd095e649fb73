"""How far a task or a certificate reaches: scope, resources and authorization details, compared and narrowed as one."""

from __future__ import annotations

from dataclasses import dataclass

from ca.policy.details import NO_DETAILS, Details
from ca.policy.scope import NO_SCOPE, Scope
from ca.refusals import Reason, Refused


@dataclass(frozen=True, slots=True)
class Reach:
    """Scope (RFC 6749 3.3), resources (RFC 8707 2), authorization details (RFC 9396). The empty one grants nothing."""

    scope: Scope = NO_SCOPE
    resources: tuple[str, ...] = ()
    details: Details = NO_DETAILS

    def within(self, other: Reach) -> bool:
        """Whether this grants nothing that `other` does not."""
        return (
            self.scope.within(other.scope)
            and set(self.resources) <= set(other.resources)
            and self.details.within(other.details)
        )

    def intersection(self, other: Reach) -> Reach:
        """What both grant."""
        if self == other:
            return self
        return Reach(
            self.scope.intersection(other.scope),
            tuple(uri for uri in self.resources if uri in other.resources),
            self.details.intersection(other.details),
        )


@dataclass(frozen=True, slots=True)
class Narrower:
    """A reach as somebody asked for it: what is None is asked for whole."""

    scope: Scope | None = None
    resources: tuple[str, ...] | None = None
    details: Details | None = None

    def of(self, available: Reach) -> Reach:
        """This much of what may be had.

        Raises `Refused`: SCOPE_EXCEEDED, RESOURCE_EXCEEDED, DETAILS_EXCEEDED.
        """
        asked = Reach(
            available.scope if self.scope is None else self.scope,
            available.resources if self.resources is None else self.resources,
            available.details if self.details is None else self.details,
        )
        if not asked.scope.within(available.scope):
            raise Refused(Reason.SCOPE_EXCEEDED, f"The scope asked for exceeds what may be had: '{available.scope}'.")
        if not set(asked.resources) <= set(available.resources):
            raise Refused(Reason.RESOURCE_EXCEEDED, "A resource asked for is not among those that may be had.")
        if not asked.details.within(available.details):
            raise Refused(Reason.DETAILS_EXCEEDED, "Authorization details asked for exceed those that may be had.")
        return asked
