"""Looks after the threads that call the module, because one that hangs cannot look after itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event, Thread

import structlog

from ca.hsm.calls import Post, Waiting
from ca.hsm.signer import TokenFault

_log = structlog.get_logger("remit.hsm")


@dataclass(frozen=True, slots=True)
class Bench:
    """Threads that take from one queue."""

    waiting: Waiting
    posts: Sequence[Post]

    def hangs(self) -> bool:
        """Whether one gets no answer, and no other got one since it asked: then the next to ask would hang as well."""
        asked = [post.began for post in self.posts if post.is_stuck]
        return bool(asked) and max(post.answered for post in self.posts) < min(asked)


class Watch:
    """Fails the calls that a module does not answer in time, and those that would wait for them for ever.

    The last bench is the one that signs. A thread that hangs stays where it is; it is at work again
    as soon as the module answers.
    """

    def __init__(self, patience: float, benches: Sequence[Bench]) -> None:
        self._benches = benches
        self._interval = min(1.0, patience / 4)
        self._stop = Event()
        self.sentence = f"The PKCS#11 module has not answered for {patience:g} seconds; look at the token."

    def start(self) -> None:
        """Watches until `stop`."""
        Thread(target=self._run, name="token-watch", daemon=True).start()

    def stop(self) -> None:
        """Ends the watch."""
        self._stop.set()

    def hanging(self) -> str | None:
        """Why nothing is signed, if no thread that signs gets an answer."""
        return self.sentence if self._benches[-1].hangs() else None

    def faults(self) -> list[str]:
        """What hangs while others sign."""
        posts = [post for bench in self._benches for post in bench.posts]
        stuck = sum(post.is_stuck for post in posts)
        return [f"{stuck} of {len(posts)} threads get no answer from the PKCS#11 module; look at the token."] * bool(
            stuck
        )

    def drain(self, fault: TokenFault) -> None:
        """Fails everything that waits."""
        for bench in self._benches:
            _fail_all(bench, fault)

    def _run(self) -> None:
        hung = False
        while not self._stop.wait(self._interval):
            hangs = [self._look_at(bench) for bench in self._benches][-1]
            if hangs and not hung:
                _log.error("token_hangs", reason=self.sentence)
            hung = hangs

    def _look_at(self, bench: Bench) -> bool:
        fault = TokenFault(self.sentence)
        for post in bench.posts:
            if post.is_stuck:
                post.abandon(fault)
        if bench.hangs():
            _fail_all(bench, fault)
            return True
        return False


def _fail_all(bench: Bench, fault: TokenFault) -> None:
    for call in bench.waiting.drain():
        call.fail(fault)
