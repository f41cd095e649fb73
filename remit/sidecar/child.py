"""The program that is started once there are credentials: its signals, its end, and orphans where we are process 1."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Collection, Mapping, Sequence

from remit.starting import TOKEN

_PATIENCE = 10.0
"""Seconds that a program is given to end before it is killed."""


class Child:
    """One program. `ended` is told its exit status, as a shell has it, when it ends by itself."""

    def __init__(self, command: Sequence[str], ended: Callable[[int], object]) -> None:
        self._command = list(command)
        self._ended = ended
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Its process id while it is ours."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Starts it, without the enrolment token in its environment. Raises `OSError`."""
        process = self._process = subprocess.Popen(self._command, env=without_secrets(os.environ))  # noqa: S603 (the user's own)
        threading.Thread(target=self._wait, args=(process,), name="child-wait", daemon=True).start()

    def send(self, number: int) -> None:
        """A signal; nothing where it does not run."""
        if self._process is not None:
            self._process.send_signal(number)

    def stop(self) -> int:
        """Ends it, by SIGKILL if it takes longer than ten seconds; its exit status, 0 where it does not run."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.terminate()
        try:
            return _status(process.wait(_PATIENCE))
        except subprocess.TimeoutExpired:
            process.kill()
            return _status(process.wait())

    def restart(self) -> None:
        """Ends it and starts it anew. Raises `OSError`."""
        self.stop()
        self.start()

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        status = _status(process.wait())
        if process is self._process:
            self._ended(status)


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """What a program that we start sees of ours."""
    return {name: value for name, value in environment.items() if name != TOKEN}


def reap(ours: Collection[int]) -> None:
    """As process 1 of a container: orphans that ended are waited for. Those in `ours` somebody else waits for."""
    if os.getpid() != 1:
        return
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid in ours:
            return
        os.waitpid(ended.si_pid, 0)


def _status(returned: int) -> int:
    """As a shell has it: 128 and the signal's number for one that a signal ended."""
    return 128 - returned if returned < 0 else returned


PASSED_ON = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that are the program's while it runs."""
