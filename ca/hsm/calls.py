"""What waits for a thread of the token, and what such a thread is at: bounded, and never for ever."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from threading import Condition, Lock
from time import monotonic
from typing import Any, TypeVar

from ca.hsm.signer import TokenFault

T = TypeVar("T")

_TOGETHER = 0.01  # seconds of work after which the callers are woken


@dataclass(frozen=True, slots=True)
class Limits:
    """How long the module may take, how often it is tried, and how much may wait for it."""

    stuck: float = 10.0  # seconds in one call after which the module is taken for hanging
    pulse: float = 10.0  # seconds between two proofs that the token is there and its handles name the right keys
    waiting: int = 4096  # signatures


class Full(TokenFault):
    """More waits than may wait; what was asked was not even begun."""


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """Work for the token, who waits for it, how many signatures it is, and how many seconds it may take."""

    work: Callable[..., Any]
    weight: int = 1
    patience: float | None = None
    future: Future[Any] = field(default_factory=Future)

    def fail(self, fault: TokenFault) -> None:
        """Answers with a fault, unless it was answered before."""
        with suppress(InvalidStateError):
            self.future.set_exception(fault)


class Waiting:
    """The calls that wait, first come, first served."""

    def __init__(self, limit: int) -> None:
        self._limit = limit  # signatures
        self._calls: deque[Call] = deque()
        self._weight = 0
        self._closed = False
        self._changed = Condition(Lock())

    def put(self, *calls: Call) -> None:
        """All or none: raises `Full` where they would wait behind too many. What comes alone may be of any size."""
        with self._changed:
            if self._calls and self._weight + sum(call.weight for call in calls) > self._limit:
                raise Full(f"{self._weight} signatures wait for the token already; it is too slow for what is asked.")
            for call in calls:
                self._add(call)

    def put_anyway(self, call: Call) -> None:
        """For what the owner asks of itself."""
        with self._changed:
            self._add(call)

    def take(self, until: float, most: int) -> list[Call]:
        """What waits, at most `most` calls; waits for the first until that moment of the monotonic clock."""
        with self._changed:
            if not self._calls and not self._closed:
                self._changed.wait(max(0.0, until - monotonic()))
            calls = [self._calls.popleft() for _ in range(min(len(self._calls), most))]
            self._weight -= sum(call.weight for call in calls)
            return calls

    def drain(self) -> list[Call]:
        """Everything that waits, so that it can be failed."""
        with self._changed:
            calls = list(self._calls)
            self._calls.clear()
            self._weight = 0
            return calls

    def close(self) -> None:
        """What waits is still taken; nobody waits for more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def is_over(self) -> bool:
        """Whether it was closed and everything was taken."""
        return self._closed and not self._calls

    def _add(self, call: Call) -> None:
        self._calls.append(call)
        self._weight += call.weight
        self._changed.notify()


class Post:
    """One thread that calls the module: what it is at, and by when the module must have answered.

    The thread itself calls `serve`, `begin`, `step` and `rest`; any other may look, and `abandon` the calls that the
    module does not answer.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._deadline = inf
        self._calls: Sequence[Call] = ()
        self.began = -inf
        self.answered = -inf  # when the module last did, by the monotonic clock

    def serve(self, calls: Sequence[Call], answer: Callable[[Call], Any]) -> None:
        """Does the work, and wakes the callers once it is done or some time has passed.

        One who is woken takes the interpreter from the work, so those whose work is quick are woken together.
        """
        self._calls = [call for call in calls if call.future.set_running_or_notify_cancel()]
        done: list[tuple[Call, Any]] = []
        wake_at = monotonic() + _TOGETHER
        for call in self._calls:
            done.append((call, self._watched(call, answer)))
            if monotonic() >= wake_at:
                _wake(done)
                done, wake_at = [], monotonic() + _TOGETHER
        _wake(done)
        self._calls = ()

    def begin(self, patience: float | None = None) -> None:
        """The module is about to be called, and has so many seconds."""
        self.began = monotonic()
        self._deadline = self.began + (patience or self._patience)

    def step(self) -> None:
        """The module answered, and is called again: its time begins anew."""
        self.answered = monotonic()
        self.begin()

    def rest(self) -> None:
        """The module answered, and is not called."""
        self.answered = monotonic()
        self._deadline = inf

    @property
    def is_stuck(self) -> bool:
        """Whether the module should have answered by now."""
        return monotonic() > self._deadline

    def abandon(self, fault: TokenFault) -> None:
        """Fails what the thread is at; should the module answer after all, nobody hears it."""
        for call in self._calls:
            call.fail(fault)

    def _watched(self, call: Call, answer: Callable[[Call], Any]) -> Any:
        self.begin(call.patience)
        try:
            return answer(call)
        finally:
            self.rest()


def _wake(done: Sequence[tuple[Call, Any]]) -> None:
    for call, found in done:
        _answer(call.future, found)


def _answer(future: Future[Any], found: Any) -> None:
    with suppress(InvalidStateError):  # abandoned meanwhile
        if isinstance(found, BaseException):
            future.set_exception(found)
        else:
            future.set_result(found)


def joined(parts: Sequence[Future[list[T]]]) -> Future[list[T]]:
    """One future for the lists of all `parts`, in their order; the first fault of any is the fault of all."""
    whole: Future[list[T]] = Future()
    whole.set_running_or_notify_cancel()
    left, lock = [len(parts)], Lock()

    def done(part: Future[list[T]]) -> None:
        with lock:
            left[0] -= 1
            is_last = left[0] == 0
        fault = part.exception()
        if fault is not None:
            _answer(whole, fault)
        elif is_last:
            faults = [one for one in parts if one.exception() is not None]
            if not faults:
                _answer(whole, [found for one in parts for found in one.result()])

    for part in parts:
        part.add_done_callback(done)
    return whole
