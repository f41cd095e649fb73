"""Which calls a task allows: what MCP says of a call in its headers, against authorization details (RFC 9396 2.2).

A detail says which methods (`actions`), which of their names (`datatypes`) and where (`locations`). A list that is left
out is no limit; in one that is there, what the call does not say is not. So whoever has less may never do more.
"""

from __future__ import annotations

from dataclasses import dataclass

from ca.policy.binding import Standing
from ca.policy.details import Detail
from ca.policy.reach import Reach


@dataclass(frozen=True, slots=True)
class Call:
    """A call as its headers have it (MCP 2026-07-28): the method, and what it names, as `tools/call` does a tool."""

    method: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where calls arrive: the resource there (RFC 8707), and the `type` of the details that speak of it.

    What is None is not compared.
    """

    resource: str | None = None
    kind: str | None = None


def permits(standing: Standing, reach: Reach, call: Call, place: Place) -> bool:
    """Whether what this certificate reaches now has the call.

    Where neither it nor its task ever had details, they are no limit. Where either has, one of those that are left must
    cover the call: a certificate that was narrowed to none allows nothing, rather than everything.
    """
    if not standing.reach.details and not (standing.task and standing.task.reach.details):
        return True
    return any(_covers(detail, call, place) for detail in reach.details.items)


def _covers(detail: Detail, call: Call, place: Place) -> bool:
    is_of_this_kind = place.kind is None or detail["type"] == place.kind
    is_here = place.resource is None or _has(detail, "locations", place.resource)
    return is_of_this_kind and is_here and _has(detail, "actions", call.method) and _has(detail, "datatypes", call.name)


def _has(detail: Detail, name: str, value: str | None) -> bool:
    allowed = detail.get(name)
    return allowed is None or value in allowed
