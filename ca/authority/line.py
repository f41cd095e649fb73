"""The line on which certificates are made: a bounded queue, and one thread that takes all that waits.

    round n     one transaction: the results of round n-1, the intents of round n; then the
                answers to n-1, then one hop to the signer for n

So certificates that are asked for together share a commit and a hop, the second commit of one
batch is the first of the next, and a request that comes alone waits for nothing but its own.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ca.authority import issuance
from ca.authority.issuance import BATCH, Desk, Issued, Outcome, Sealed
from ca.hsm import State
from ca.refusals import Reason, Refused
from ca.store.certificates import Intent
from ca.store.stillness import Stillness
from ca.store.transaction import Act

if TYPE_CHECKING:
    from ca.authority.authority import Authority

MAX_WAITING = 1024
"""Requests in the queue: half a second of work. One more is told to come back."""

_ATTEMPTS = 3  # at one request alone: two serials that collide are more than anybody will ever see

_Answer = Issued | Exception


@dataclass(frozen=True, slots=True, eq=False)
class _Order:
    """One certificate that somebody waits for. Two orders that share a claim are never in one batch."""

    desk: Desk
    request: Any
    claims: frozenset[bytes]
    still: Stillness | None
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Issued]


_Pending = tuple[_Order, Intent]


class Line:
    """Makes the certificates of one authority. Its thread starts with the first order; close it at the end."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._waiting: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._deferred: list[_Order] = []
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._closed = False

    async def issue(
        self, desk: Desk, request: Any, claims: Iterable[bytes] = (), still: Stillness | None = None
    ) -> Issued:
        """One certificate, for what `desk` decides on `request` while what it names stands still.

        Raises `Refused`; after a refusal nothing was signed, or what was signed stays recorded and never good.
        """
        self.check_room()
        loop = asyncio.get_running_loop()
        order = _Order(desk, request, frozenset(claims), still, loop, loop.create_future())
        self._start()
        self._waiting.put(order)
        return await order.answer

    def check_room(self) -> None:
        """Raises `Refused(UNAVAILABLE)` when an order would be turned away: before anything is spent on it."""
        if self._closed:
            raise Refused(Reason.UNAVAILABLE, "The authority is stopping; nothing was issued.")
        if self._waiting.qsize() + len(self._deferred) >= MAX_WAITING:
            raise Refused(Reason.UNAVAILABLE, "Too many requests are waiting; try again in a moment.")
        health = self._authority.signer.health()
        if health.state is State.DOWN:
            raise Refused(Reason.UNAVAILABLE, "The signing key cannot be used at the moment; try again later.")

    def close(self) -> None:
        """Finishes what waits. Orders after it are refused."""
        self._closed = True
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
        while not self._waiting.empty():
            if (late := self._waiting.get()) is not None:
                _answer([(late, Refused(Reason.UNAVAILABLE, "The authority is stopping; nothing was issued."))])

    def _start(self) -> None:
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="issuance", daemon=True)
                    self._thread.start()

    def _run(self) -> None:
        signed: list[tuple[_Order, Sealed]] = []
        while True:
            orders = self._take(wait=not signed)
            if not orders and not signed:
                return
            signed = self._round(signed, orders)

    def _take(self, *, wait: bool) -> list[_Order]:
        """All that waits, up to a batch; none twice that could not both be granted."""
        batch, self._deferred = _apart(self._deferred)
        claimed = set().union(*(order.claims for order in batch))
        while len(batch) < BATCH:
            try:
                order = self._waiting.get(wait and not batch and not self._deferred)
            except queue.Empty:
                break
            if order is None:
                self._waiting.put(None)  # for the round after this one
                break
            if claimed.isdisjoint(order.claims):
                claimed |= order.claims
                batch.append(order)
            else:
                self._deferred.append(order)
        return batch

    def _round(self, signed: list[tuple[_Order, Sealed]], orders: list[_Order]) -> list[tuple[_Order, Sealed]]:
        groups: dict[Desk, list[_Order]] = {}
        for order in orders:
            groups.setdefault(order.desk, []).append(order)
        acts: list[Act[Any]] = [
            partial(issuance.intend, self._authority, desk, [order.request for order in group])
            for desk, group in groups.items()
        ]
        if signed:
            acts.insert(0, partial(issuance.record, self._authority, [sealed for _, sealed in signed]))
        still = max((order.still for order in orders if order.still), default=None)
        futures = self._authority.database.write_together(acts, still)
        if signed:
            _answer_all([order for order, _ in signed], futures.pop(0))
        pending: list[_Pending] = []
        for group, future in zip(groups.values(), futures, strict=True):
            pending += self._intended(group, future)
        return self._sign(pending)

    def _intended(self, orders: list[_Order], future: Future[list[Any]]) -> list[_Pending]:
        """The intents among the outcomes; everything else is answered."""
        try:
            outcomes = future.result()
        except Exception as error:  # noqa: BLE001 (border: it is the callers', and the line goes on)
            if isinstance(error, Refused) and error.reason is Reason.CONFLICT:
                # One of them was beaten by another replica, or drew a serial twice: each for itself.
                return [pending for order in orders for pending in self._alone(order)]
            _answer([(order, error) for order in orders])
            return []
        _answer([(order, outcome) for order, outcome in zip(orders, outcomes, strict=True) if _is_final(outcome)])
        return [(order, one) for order, one in zip(orders, outcomes, strict=True) if isinstance(one, Intent)]

    def _alone(self, order: _Order) -> list[_Pending]:
        """Several attempts, each with a serial of its own; the last conflict is the answer."""
        act = partial(issuance.intend, self._authority, order.desk, [order.request])
        outcome: Outcome | Exception
        for _ in range(_ATTEMPTS):
            try:
                [outcome] = self._authority.database.write(act, order.still).result()
            except Exception as error:  # noqa: BLE001 (border: it is the caller's, and the line goes on)
                outcome = error
            if not (isinstance(outcome, Refused) and outcome.reason is Reason.CONFLICT):
                break
        if isinstance(outcome, Intent):
            return [(order, outcome)]
        _answer([(order, outcome)])
        return []

    def _sign(self, pending: list[_Pending]) -> list[tuple[_Order, Sealed]]:
        if not pending:
            return []
        try:
            results = issuance.sign(self._authority, [intent for _, intent in pending])
        except Exception as error:  # noqa: BLE001 (border: it is the callers', and the line goes on)
            _answer([(order, error) for order, _ in pending])
            return []
        wrong = [
            (order, intent, one)
            for (order, intent), one in zip(pending, results, strict=True)
            if isinstance(one, Refused)
        ]
        if wrong:
            intents = [intent for _, intent, _ in wrong]
            self._authority.database.write(partial(issuance.suspect, self._authority, intents))
            _answer([(order, refusal) for order, _, refusal in wrong])
        return [(order, one) for (order, _), one in zip(pending, results, strict=True) if isinstance(one, Sealed)]


def _apart(orders: list[_Order]) -> tuple[list[_Order], list[_Order]]:
    """Orders that share no claim, and the rest."""
    batch: list[_Order] = []
    rest: list[_Order] = []
    claimed: set[bytes] = set()
    for order in orders:
        if len(batch) < BATCH and claimed.isdisjoint(order.claims):
            claimed |= order.claims
            batch.append(order)
        else:
            rest.append(order)
    return batch, rest


def _is_final(outcome: object) -> bool:
    return not isinstance(outcome, Intent)


def _answer_all(orders: list[_Order], future: Future[list[Issued]]) -> None:
    try:
        _answer(list(zip(orders, future.result(), strict=True)))
    except Exception as error:  # noqa: BLE001 (border: it is the callers', and the line goes on)
        _answer([(order, error) for order in orders])


def _answer(answers: Sequence[tuple[_Order, _Answer]]) -> None:
    """Wakes each event loop once, however many of its callers have an answer."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Order, _Answer]]] = {}
    for order, answer in answers:
        by_loop.setdefault(order.loop, []).append((order, answer))
    for loop, theirs in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, theirs)
        except RuntimeError:  # the loop is gone, and with it whoever waited; the certificate stays recorded
            continue


def _resolve(answers: Sequence[tuple[_Order, _Answer]]) -> None:
    for order, answer in answers:
        if order.answer.done():  # cancelled: the caller went away
            continue
        if isinstance(answer, Exception):
            order.answer.set_exception(answer)
        else:
            order.answer.set_result(answer)
