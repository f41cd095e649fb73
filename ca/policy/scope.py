"""OAuth scopes as sets (RFC 6749 3.3) and resource indicators (RFC 8707 2): what a task may touch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from ca.refusals import Reason, Refused

MAX_OCTETS = 512
MAX_RESOURCES = 16
_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


@dataclass(frozen=True, slots=True)
class Scope:
    """A set of scope tokens. The empty set grants nothing."""

    tokens: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str | None) -> Scope:
        """Space-separated tokens; None and the empty string are the empty set.

        Raises `Refused(MALFORMED)` over 512 octets or for a character that RFC 6749 3.3 does not allow.
        """
        tokens = (text or "").split(" ") if text else []
        if len(text or "") > MAX_OCTETS or not all(_TOKEN.fullmatch(token) for token in tokens):
            raise Refused(
                Reason.MALFORMED,
                f"A scope is at most {MAX_OCTETS} printable ASCII characters: tokens joined by single spaces "
                "(RFC 6749 section 3.3).",
            )
        return cls(frozenset(tokens))

    def within(self, ceiling: Scope) -> bool:
        """Whether this grants nothing that `ceiling` does not."""
        return self.tokens <= ceiling.tokens

    def intersection(self, other: Scope) -> Scope:
        """What both grant."""
        return Scope(self.tokens & other.tokens)

    def __bool__(self) -> bool:
        return bool(self.tokens)

    def __str__(self) -> str:
        return " ".join(sorted(self.tokens))


NO_SCOPE = Scope()
"""The empty set."""


def resources(uris: Iterable[str]) -> tuple[str, ...]:
    """Resource indicators: absolute URIs without a fragment (RFC 8707 2), each once, in order, at most 16.

    Raises `Refused(MALFORMED)`.
    """
    unique = tuple(dict.fromkeys(uris))
    if len(unique) > MAX_RESOURCES or not all(map(_is_resource, unique)):
        raise Refused(
            Reason.MALFORMED,
            f"Resources are at most {MAX_RESOURCES} absolute URIs of at most 256 ASCII characters, without a fragment "
            "(RFC 8707 section 2).",
        )
    return unique


def _is_resource(uri: str) -> bool:
    if len(uri) > 256 or not uri.isascii() or not uri.isprintable() or " " in uri or "#" in uri:
        return False
    try:
        parts = urlsplit(uri)
    except ValueError:
        return False
    return bool(parts.scheme and (parts.netloc or parts.path))
