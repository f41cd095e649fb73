"""Documents by what was asked: bounded in octets, and never served past their life.

An answer was signed upon grounds: the statuses that the database gave. The database's generation
says whether it has changed since the grounds were last seen to hold; an answer of an older
generation is not dropped but proved again, which costs a row and spares a signature.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime

from ocsp.document import Document, Life

OVERHEAD = 4096
"""Octets that an entry takes beside the document's body: its question, headers and objects, rather more than less."""


@dataclass(slots=True)
class Entry:
    """A document with a life, when in it to make a new one, and the generation in which it last held true."""

    document: Document
    life: Life
    renew_at: datetime
    generation: int
    grounds: object = None


class Cache:
    """At most `octets` of memory; the entry unused for longest goes first. For one thread."""

    def __init__(self, octets: int) -> None:
        self._room = octets
        self._entries: OrderedDict[Hashable, Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def current(self, question: Hashable, generation: int, now: datetime) -> Document | None:
        """What may be sent as it is: alive, not due for renewal, true in this generation."""
        entry = self._entries.get(question)
        if entry is None or entry.generation != generation or not entry.life.since <= now < entry.renew_at:
            return None
        self._entries.move_to_end(question)
        return entry.document

    def alive(self, question: Hashable, now: datetime) -> Entry | None:
        """The entry whose life lasts, whatever its generation; one whose life is over is dropped."""
        entry = self._entries.get(question)
        if entry is None:
            return None
        if not entry.life.holds(now):
            self._drop(question)
            return None
        self._entries.move_to_end(question)
        return entry

    def put(self, question: Hashable, entry: Entry) -> None:
        """Keeps the entry in place of an older one, unless it is larger than all there is room for."""
        self._drop(question)
        self._entries[question] = entry
        self._room -= _weight(entry)
        while self._room < 0:
            self._drop(next(iter(self._entries)))

    def _drop(self, question: Hashable) -> None:
        entry = self._entries.pop(question, None)
        if entry is not None:
            self._room += _weight(entry)


def _weight(entry: Entry) -> int:
    return OVERHEAD + len(entry.document.body)
