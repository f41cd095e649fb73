"""The watch: from the first certificate to the end of the program, or of us.

a new certificate  -> what is to be done after one, and first of all the program is started
a signal           -> the program's while it runs; else HUP renews now, INT and TERM end us
the program ends   -> so do we, with its status
a second passes    -> what changed is said, orphans are waited for
"""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType

from remit.credential import Credential
from remit.failed import Failed
from remit.holder import Holder
from remit.sidecar.child import PASSED_ON, Child, reap
from remit.sidecar.reload import Reload
from remit.upkeep import State

_TICK = 1.0
_HANGING = 10.0
"""Seconds without a tick after which the watch is taken to hang."""

_ENDING = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class _Ended:
    status: int


@dataclass(frozen=True, slots=True)
class _Told:
    number: int


_Event = Credential | _Ended | _Told


class Watch:
    """Keeps one holder going. `say` tells a person one sentence; `stops_when_refused` ends it with the certificate."""

    def __init__(
        self,
        holder: Holder,
        say: Callable[[str], None],
        command: Sequence[str] | None = None,
        *,
        stops_when_refused: bool = False,
    ) -> None:
        self.child = None if command is None else Child(command, lambda status: self._events.put(_Ended(status)))
        self.reloads: list[Reload] = []
        self._helper: int | None = None
        self._holder = holder
        self._say = say
        self._stops_when_refused = stops_when_refused
        # Its put is safe inside a signal's handler.
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._said: tuple[State, str] | None = None
        self._serial = ""
        self._ticked = time.monotonic()

    def run(self) -> int:
        """To the end; the exit status. Raises `Failed` where the first certificate is refused for good, `OSError`."""
        self._holder.on_credential(self._events.put)
        before = {number: signal.signal(number, self._hear) for number in PASSED_ON}
        try:
            self._holder.start()
            if self._holder.state is not State.NONE:
                self._events.put(self._holder.credential)
            return self._loop()
        finally:
            self._holder.close()
            for number, handler in before.items():
                signal.signal(number, handler)

    def runs_beside(self, process: int | None) -> None:
        """A command that somebody else waits for; None once it has ended."""
        self._helper = process

    def live(self) -> tuple[bool, str]:
        """Whether the watch goes on at all."""
        goes_on = time.monotonic() - self._ticked < _HANGING
        return goes_on, "It goes on." if goes_on else "It hangs."

    def ready(self) -> tuple[bool, str]:
        """Whether the certificate is worth presenting, and the program runs."""
        state = self._holder.state
        if not state.usable:
            return False, f"{state}: {self._holder.sentence or 'there is no certificate yet.'}"
        if self.child is not None and not self.child.runs:
            return False, "The program does not run."
        return True, f"{state}: until {self._holder.credential.not_after:%Y-%m-%dT%H:%M:%SZ}"

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        self._events.put(_Told(number))

    def _loop(self) -> int:
        while True:
            try:
                event = self._events.get(timeout=_TICK)
            except queue.Empty:
                status = self._tick()
            else:
                status = self._handled(event)
            self._ticked = time.monotonic()
            if status is not None:
                return status

    def _handled(self, event: _Event) -> int | None:
        match event:
            case _Ended(status):
                self._say(f"The program ended with status {status}.")
                return status
            case _Told(number):
                return self._told(number)
            case Credential():
                self._renewed(event)
        return None

    def _told(self, number: int) -> int | None:
        if self.child is not None and self.child.runs:
            if number not in _ENDING:
                self.child.send(number)
                return None
            self._say(f"{signal.Signals(number).name}: ending the program.")
            return self.child.stop()
        if number in _ENDING:
            self._say(f"{signal.Signals(number).name}: ending; the certificate stays.")
            return 0
        if number == signal.SIGHUP:
            threading.Thread(target=self._renew_now, name="renew-now", daemon=True).start()
        return None

    def _renew_now(self) -> None:
        try:
            self._holder.renew()
        except Failed as error:
            self._say(f"Not renewed: {error}")

    def _renewed(self, credential: Credential) -> None:
        self._say(f"{credential.serial} until {credential.not_after:%Y-%m-%dT%H:%M:%SZ}")
        is_first, self._serial = not self._serial, credential.serial
        if is_first and self.child is not None:
            self.child.start()
            self._say(f"The program runs as process {self.child.pid}.")
            return
        # A command takes its time, and a signal must not wait for it.
        threading.Thread(target=self._reload, args=(credential,), name="reload", daemon=True).start()

    def _reload(self, credential: Credential) -> None:
        for reload in self.reloads:
            try:
                reload(credential)
            except (OSError, ValueError) as error:
                self._say(f"What is done after a new certificate failed: {error}.")

    def _tick(self) -> int | None:
        """Says what changed; the exit status where that is the end."""
        reap({pid for pid in (self._helper, self.child.pid if self.child else None) if pid is not None})
        state, sentence = self._holder.state, self._holder.sentence
        if (state, sentence) == self._said:
            return None
        if sentence:
            self._say(f"{state}: {sentence} Tried again at {self._holder.next_try:%H:%M:%S}Z.")
        self._said = state, sentence
        if state is State.REFUSED and not self._serial:
            raise Failed(sentence)
        if state is State.REFUSED and self._stops_when_refused:
            if self.child is not None:
                self.child.stop()
            return 1
        return None
