"""What came over the wire before, octet for octet, is answered from the cache without being parsed again.

A client asks in the same words each time. Which octets are one whole request, and what they ask, is
found out by the parser and the application when they come first; here it is only remembered. What
is sent is the cache's document of this moment, under all of the cache's conditions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from ca.listening import PatientProtocol
from ocsp.cache import Cache
from ocsp.metrics import Metrics
from ocsp.spelling import kept_spellings
from ocsp.view import View

_LONGEST = 1024  # octets of a request that is remembered
_REQUESTS = 16384
_GET, _POST = b"/ocsp/", (b"/ocsp", b"/ocsp/")

# Fields by which the answer to the same question differs, or the connection's end does.
_MATTERS = frozenset(
    (b"connection", b"expect", b"if-modified-since", b"if-none-match", b"transfer-encoding", b"upgrade")
)


class Wire:
    """For one thread. At most 16,384 requests of at most 1,024 octets each are remembered."""

    def __init__(self, view: View, cache: Cache, metrics: Metrics, clock: Callable[[], datetime]) -> None:
        self._view = view
        self._cache = cache
        self._metrics = metrics
        self._clock = clock
        self._questions: dict[bytes, bytes] = {}

    def answer(self, octets: bytes) -> bytes | None:
        """The whole HTTP response to these octets, if they came before and the cache holds it now."""
        question = self._questions.get(octets)
        if question is None:
            return None
        now = self._clock()
        document = self._cache.current(question, self._view.generation, now)
        if document is None:
            return None
        self._metrics.cached.inc()
        return document.response(now)

    def remember(self, octets: bytes, scope: Mapping[str, Any]) -> None:
        """That these octets are the whole request of which the parser made `scope`."""
        question = _question(octets, scope) if len(octets) <= _LONGEST else None
        if question is None or self._cache.current(question, self._view.generation, self._clock()) is None:
            return
        if len(self._questions) >= _REQUESTS:
            # The oldest: what is still asked is remembered again at its next turn.
            del self._questions[next(iter(self._questions))]
        self._questions[octets] = question


class StatusProtocol(PatientProtocol):
    """uvicorn's HTTP protocol with `Wire` in front: a request that came before never reaches the parser."""

    wire: Wire

    def connection_made(self, transport: Any) -> None:
        """Nothing has been received."""
        super().connection_made(transport)
        self._is_between = True
        self._begun = 0
        self._only: bytes | None = None

    def data_received(self, data: bytes) -> None:
        """Answers at once what can be, where nothing is under way that must be answered before it."""
        is_free = self._is_between and self.is_idle() and not self.flow.write_paused
        if is_free and (answer := self.wire.answer(data)) is not None:
            self._owes(None)
            self.transport.write(answer)
            if self.timeout_keep_alive_task is None:
                self.timeout_keep_alive_handler()
            return
        self._begun = 0
        super().data_received(data)
        self._only = data if is_free and self._begun == 1 and self._is_between else None

    def on_message_begin(self) -> None:
        """The first octet of a request."""
        super().on_message_begin()
        self._is_between = False
        self._begun += 1

    def on_message_complete(self) -> None:
        """The last one."""
        super().on_message_complete()
        self._is_between = True

    def on_response_complete(self) -> None:
        """Remembers a request that came whole and alone."""
        only, self._only = self._only, None
        if only is not None and self.cycle.keep_alive:
            self.wire.remember(only, self.scope)
        super().on_response_complete()

    def timeout_keep_alive_handler(self) -> None:
        """uvicorn set its timer after the last answer that it knows of."""
        left = self.since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()


def spoken(wire: Wire) -> type[StatusProtocol]:
    """The protocol of a server that has this memory: uvicorn makes one for each connection."""

    class Protocol(StatusProtocol):
        pass

    Protocol.wire = wire
    return Protocol


def _question(octets: bytes, scope: Mapping[str, Any]) -> bytes | None:
    """What the application takes these octets to ask; None where it would look at more than that."""
    if any(name in _MATTERS for name, _ in scope["headers"]):
        return None
    path: bytes = scope["raw_path"]
    if scope["method"] == "GET" and path.startswith(_GET):
        asked = kept_spellings(path[len(_GET) :])
        return asked[0] if asked else None
    if scope["method"] == "POST" and path in _POST:
        return octets.partition(b"\r\n\r\n")[2]
    return None
