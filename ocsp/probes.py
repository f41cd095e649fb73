"""What the service says of itself: whether it lives, which of its parts work, and what it counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus

from ca.hsm import Health, State
from ca.store.crls import Heading
from ocsp.document import Document
from ocsp.metrics import Metrics
from ocsp.view import View

Part = tuple[bool, str]
"""Whether it works, and a sentence."""


class Probes:
    """`health` says what the signer can do now."""

    def __init__(
        self, view: View, metrics: Metrics, health: Callable[[], Health], clock: Callable[[], datetime]
    ) -> None:
        self._view = view
        self._metrics = metrics
        self._health = health
        self._clock = clock

    def parts(self) -> dict[str, Part]:
        """What the service needs in order to answer well."""
        health, fault = self._health(), self._view.fault
        return {
            "database": (fault is None, fault or "The database answers."),
            "responder": self._responder(),
            "signer": (health.state is not State.DOWN, health.sentence),
            "crl": self._lists(),
        }

    def alive(self) -> Document:
        """The process answers."""
        return _json(HTTPStatus.OK, {"status": "ok"})

    def readiness(self) -> Document:
        """200, or 503 with the parts that do not work."""
        parts = {name: {"ready": ready, "detail": detail} for name, (ready, detail) in self.parts().items()}
        ready = all(part["ready"] for part in parts.values())
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return _json(status, {"status": "ready" if ready else "not ready", "parts": parts})

    def exposition(self) -> Document:
        """The metrics."""
        directory = self._view.directory
        lists = directory.lists.values() if directory else ()
        ready = {name: works for name, (works, _) in self.parts().items()}
        return self._metrics.exposition(ready, lists, self._clock())

    def _responder(self) -> Part:
        directory = self._view.directory
        if directory is None:
            return False, "No CA is known yet."
        faults = directory.faults(self._clock())
        # Of one that is to come and cannot sign yet, this is where one learns.
        return not faults, " ".join(faults or directory.refused.values()) or "Each issuing CA has a responder."

    def _lists(self) -> Part:
        directory = self._view.directory
        late = directory.late(self._clock()) if directory else []
        if late:
            return False, f"Past half of their life: {', '.join(map(_path, late[:5]))}{', ...' * (len(late) > 5)}"
        return True, "Each published list is in the first half of its life."


def _path(one: Heading) -> str:
    within = {0: "", -1: "/delta"}.get(one.shard, f"/{one.shard}")
    return f"/crl/{one.issuer}{within}.crl"


def _json(status: HTTPStatus, value: object) -> Document:
    return Document(json.dumps(value).encode(), "application/json", status=status)
