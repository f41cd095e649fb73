"""Several processes that serve one port: on several cores, one interpreter is not the limit.

The parent forks them before anything is opened, holds nothing itself, and starts anew what dies.
Each is a replica of its own: its lease, its session of the token, its connections. The kernel
deals new connections out among them.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from threading import Thread

import structlog

_ENDS = (signal.SIGTERM, signal.SIGINT)

_RETRY_SECONDS = 1.0
"""Between two starts of a worker that ends as soon as it is started."""

_log = structlog.get_logger("remit.workers")


Work = Callable[[Callable[[], object]], int]
"""What a worker does: it calls what it is given once it is about to serve, and returns an exit status."""


def run(count: int, work: Work) -> int:
    """Runs `work` in `count` forked processes until SIGTERM or SIGINT; the exit status.

    The others start once the first is ready: what keeps it from starting is said once. A worker that
    ends by itself ends all, one that a signal killed is started anew. When the parent is killed, its
    workers end.
    """
    return _Parent(work).run(count)


class _Parent:
    def __init__(self, work: Work) -> None:
        self._work = work
        self._workers: set[int] = set()
        self._stopping = False
        self._lifeline = os.pipe()

    def run(self, count: int) -> int:
        for number in _ENDS:
            signal.signal(number, lambda *_: self._stop())
        reading, writing = os.pipe()
        self._start(lambda: os.write(writing, b"."))
        os.close(writing)
        if os.read(reading, 1):  # nothing comes from one that ended
            for _ in range(count - 1):
                self._start()
        return self._tend()

    def _tend(self) -> int:
        result = 0
        while self._workers:
            ended, status = os.wait()
            self._workers.discard(ended)
            code = os.waitstatus_to_exitcode(status)
            if self._stopping:
                continue
            if code < 0:
                _log.error("worker_killed", worker=ended, signal=signal.Signals(-code).name)
                time.sleep(_RETRY_SECONDS)
                self._start()
            else:
                result = code
                self._stop()
        return result

    def _start(self, ready: Callable[[], object] = lambda: None) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)  # or one that comes in between would miss the new worker
        if not self._stopping:
            worker = os.fork()
            if worker == 0:
                os._exit(self._worker(ready))
            self._workers.add(worker)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)

    def _worker(self, ready: Callable[[], object]) -> int:
        for number in _ENDS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)
        reading, writing = self._lifeline
        os.close(writing)
        Thread(target=_end_with_parent, args=(reading,), name="lifeline", daemon=True).start()
        try:
            return self._work(ready)
        except BaseException:  # noqa: BLE001 (border: the fork must not run on in its parent's code)
            sys.excepthook(*sys.exc_info())
            return 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()

    def _stop(self) -> None:
        self._stopping = True
        for worker in self._workers:
            os.kill(worker, signal.SIGTERM)


def _end_with_parent(lifeline: int) -> None:
    """Nothing is ever written there: the parent's end closes when the parent ends, however it does."""
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)
