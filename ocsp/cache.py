"""Answers by the bytes of their question: bounded, and never served past their life.

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


@dataclass(slots=True)
class Entry:
    """A document with a life, when to make a new one, and the generation in which it last held true."""

    document: Document
    life: Life
    renew_at: datetime
    generation: int
    grounds: object = None


class Cache:
    """At most `limit` entries; the one unused for longest goes first. For one thread."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[Hashable, Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def current(self, question: Hashable, generation: int, now: datetime) -> Document | None:
        """What may be sent as it is: alive, not due for renewal, true in this generation."""
        entry = self.alive(question, now)
        if entry is None or entry.generation != generation or now >= entry.renew_at:
            return None
        return entry.document

    def alive(self, question: Hashable, now: datetime) -> Entry | None:
        """The entry whose life lasts, whatever its generation; one whose life is over is dropped."""
        entry = self._entries.get(question)
        if entry is None:
            return None
        if not entry.life.holds(now):
            del self._entries[question]
            return None
        self._entries.move_to_end(question)
        return entry

    def put(self, question: Hashable, entry: Entry) -> None:
        """Keeps the entry in place of an older one."""
        self._entries[question] = entry
        self._entries.move_to_end(question)
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)
