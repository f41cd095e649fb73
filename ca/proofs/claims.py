"""Rules over claims: this one, at this place, is exactly this value.

A place is a JSON Pointer (RFC 6901) where it begins with a slash; otherwise names joined by dots, each of which may
have dots itself, as Kubernetes' `kubernetes.io` has: `kubernetes.io.namespace`. Where a JWT has such a place twice
(`{"a.b": ..., "a": {"b": ...}}`), which one was meant is not guessed: the rule is not met.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Value = str | int | bool

_MAX_PLACE = 256


@dataclass(frozen=True, slots=True)
class Rule:
    """One claim that must be one of these values, of the same type."""

    place: str
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.place) <= _MAX_PLACE or "" in self._segments():
            raise ValueError("a claim's place is names joined by dots, or a JSON Pointer")
        if not self.values:
            raise ValueError("a claim must be allowed a value")

    def is_met(self, claims: Mapping[str, Any]) -> bool:
        """An array is none of its elements, and `true` is not 1."""
        found = list(self._found(claims))
        return len(found) == 1 and any(type(found[0]) is type(one) and found[0] == one for one in self.values)

    def _segments(self) -> list[str]:
        if self.place.startswith("/"):
            return [part.replace("~1", "/").replace("~0", "~") for part in self.place[1:].split("/")]
        return self.place.split(".")

    def _found(self, claims: Mapping[str, Any]) -> Iterator[Any]:
        if not self.place.startswith("/"):
            yield from _dotted(claims, self._segments())
            return
        value: Any = claims
        for name in self._segments():
            if not isinstance(value, dict) or name not in value:
                return
            value = value[name]
        yield value


def _dotted(value: Any, parts: list[str]) -> Iterator[Any]:
    """Whatever stands at these parts, however they are joined to names."""
    if not parts:
        yield value
    elif isinstance(value, Mapping):
        for end in range(1, len(parts) + 1):
            name = ".".join(parts[:end])
            if name in value:
                yield from _dotted(value[name], parts[end:])
