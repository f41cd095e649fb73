"""What is done after each new certificate: the program is signalled or started anew, or another command is run."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from remit.credential import Credential
from remit.sidecar.child import Child, without_secrets

_LONGEST = 60.0
"""Seconds that a command may take."""

RESTART = "restart"


Reload = Callable[[Credential], None]
"""One thing that is done. It raises `OSError`, `ValueError` with a sentence; the next certificate is another try."""


@dataclass(frozen=True, slots=True)
class Signal:
    """The program is told by a signal."""

    child: Child
    number: int

    def __call__(self, _credential: Credential) -> None:
        self.child.send(self.number)


@dataclass(frozen=True, slots=True)
class Restart:
    """The program is ended and started anew."""

    child: Child

    def __call__(self, _credential: Credential) -> None:
        self.child.restart()


@dataclass(frozen=True, slots=True)
class SignalFile:
    """A program of somebody else's is told, whose process id is in a file, as nginx has one."""

    file: Path
    number: int

    def __call__(self, _credential: Credential) -> None:
        process = int(self.file.read_text())
        if process < 2:
            raise ValueError(f"{self.file} holds no process id")
        os.kill(process, self.number)


@dataclass(frozen=True, slots=True)
class Command:
    """A command is run, without a shell, and waited for; it finds the directory in `REMIT_DIR`."""

    command: Sequence[str]
    directory: Path
    running: Callable[[int | None], object]

    def __call__(self, credential: Credential) -> None:
        told = {"REMIT_DIR": str(self.directory), "REMIT_SERIAL": credential.serial}
        environment = without_secrets(os.environ) | told
        with subprocess.Popen(self.command, env=environment) as process:  # noqa: S603 (the user's own)
            self.running(process.pid)
            try:
                status = process.wait(_LONGEST)
            except subprocess.TimeoutExpired:
                process.kill()
                raise ValueError(f"it took longer than {_LONGEST:.0f} seconds") from None
            finally:
                self.running(None)
        if status != 0:
            raise ValueError(f"it exited {status}")


def number_of(name: str) -> int:
    """A signal by its name, with or without SIG, in either case. Raises `ValueError`."""
    try:
        return signal.Signals[f"SIG{name.upper().removeprefix('SIG')}"]
    except KeyError:
        raise ValueError(f"{name} is no signal") from None
