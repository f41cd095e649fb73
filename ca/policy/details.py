"""Authorization details (RFC 9396): what exactly may be done, comparable without knowing what a type means.

A `type` is some API's own. So a detail is within another only where that follows from its form: its lists
(`locations`, `actions`, `datatypes`, `privileges`, RFC 9396 2.2) may be shorter, and everything else is equal.
A list that is left out is no limit; one that is there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import rfc8785

from ca.identifiers import Thumbprint
from ca.refusals import Reason, Refused

MAX_OCTETS = 16 * 1024
MAX_ITEMS = 64
"""Each is compared with each of another array, while others wait."""

_MAX_DEPTH = 16
_LISTS = ("locations", "actions", "datatypes", "privileges")

Detail = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Details:
    """An array of authorization details; the empty one grants nothing. Equal are those of one canonical form.

    `digest` is the SHA-256 of that form (RFC 8785), as a certificate carries it; None of the empty array.
    """

    items: tuple[Detail, ...] = field(default=(), compare=False)
    digest: bytes | None = None

    @classmethod
    def of(cls, items: Sequence[Detail]) -> Details:
        """From what somebody sent. Raises `Refused(MALFORMED)`."""
        if not _is_shallow(list(items), _MAX_DEPTH):
            raise Refused(Reason.MALFORMED, f"Authorization details are nested at most {_MAX_DEPTH} deep.")
        try:
            canonical = rfc8785.dumps(list(items))
        except rfc8785.CanonicalizationError as error:
            raise Refused(
                Reason.MALFORMED, "The authorization details hold a value that JSON cannot carry exactly."
            ) from error
        if len(canonical) > MAX_OCTETS or len(items) > MAX_ITEMS or not all(map(_is_well_formed, items)):
            raise Refused(
                Reason.MALFORMED,
                f"Authorization details are an array of at most {MAX_ITEMS} objects, each with a 'type' and with "
                f"arrays of strings where RFC 9396 section 2.2 has them, of at most {MAX_OCTETS // 1024} KiB in all.",
            )
        return cls(tuple(items), Thumbprint.of(canonical).digest) if items else cls()

    def within(self, ceiling: Details) -> bool:
        """Whether each of these is within one of those."""
        return self == ceiling or len(_covered(self, ceiling)) == len(self.items)

    def intersection(self, other: Details) -> Details:
        """What of either is within the other."""
        if self == other:
            return self
        both = [*_covered(self, other), *_covered(other, self)]
        items = tuple({rfc8785.dumps(one): one for one in both}.values())
        return Details(items, Thumbprint.of(rfc8785.dumps(list(items))).digest) if items else NO_DETAILS

    def __bool__(self) -> bool:
        return bool(self.items)


NO_DETAILS = Details()
"""The empty array."""


def is_within(detail: Detail, ceiling: Detail) -> bool:
    """Whether `detail` permits nothing that `ceiling` does not, whatever their type means."""
    return _rest(detail) == _rest(ceiling) and _has_shorter_lists(detail, ceiling)


def _covered(details: Details, ceiling: Details) -> list[Detail]:
    """Those of `details` that are within one of `ceiling`."""
    alike: dict[bytes, list[Detail]] = {}
    for one in ceiling.items:
        alike.setdefault(_rest(one), []).append(one)
    return [one for one in details.items if any(_has_shorter_lists(one, above) for above in alike.get(_rest(one), ()))]


def _has_shorter_lists(detail: Detail, ceiling: Detail) -> bool:
    return all(_is_shorter(detail.get(name), ceiling.get(name)) for name in _LISTS)


def _is_shorter(asked: list[str] | None, allowed: list[str] | None) -> bool:
    return allowed is None or (asked is not None and set(asked) <= set(allowed))


def _rest(detail: Detail) -> bytes:
    """All but the lists, in the one spelling of equal values: to Python, 1 and true are equal too."""
    return rfc8785.dumps({name: value for name, value in detail.items() if name not in _LISTS})


def _is_well_formed(detail: Detail) -> bool:
    kind = detail.get("type")
    return isinstance(kind, str) and bool(kind) and all(_is_list(detail[name]) for name in _LISTS if name in detail)


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_shallow(value: Any, levels: int) -> bool:
    """Whether arrays and objects stand in each other at most `levels` deep: whoever reads them may recurse."""
    match value:
        case dict():
            return levels > 0 and all(_is_shallow(inner, levels - 1) for inner in value.values())
        case list():
            return levels > 0 and all(_is_shallow(inner, levels - 1) for inner in value)
        case _:
            return True
