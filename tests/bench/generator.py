"""The load generator: built from `load/` with Go, run against one target at a time."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("load")


class NoGo(Exception):  # noqa: N818 (said to a person as it is)
    """The load generator cannot be built: one sentence with the mend."""


@dataclass
class Target:
    """Where requests go: a URL that issues, its trust anchor, and tokens that it has and nobody spent."""

    name: str
    url: str
    root: Path
    tokens: Path
    stocked: int = 0
    spent: int = 0

    def add(self, fresh: list[str]) -> None:
        """Notes tokens that the target's database has now."""
        with self.tokens.open("a") as stream:
            stream.writelines(f"{one}\n" for one in fresh)
        self.stocked += len(fresh)

    @property
    def left(self) -> int:
        """How many tokens nobody spent."""
        return self.stocked - self.spent


@dataclass(frozen=True)
class Asking:
    """How a responder is asked: by how many at once, how long, and in what way.

    `rate` is in requests a second, each counted from when it was due; 0 is as many as are answered.
    """

    clients: int
    seconds: float
    warm_up: float = 0.0
    rate: float = 0.0
    get: bool = False
    again: bool = False
    fresh: bool = False

    def flags(self) -> dict[str, bool]:
        """As the program calls them."""
        return {"-get": self.get, "-again": self.again, "-fresh": self.fresh}


class Running:
    """A measurement under way."""

    def __init__(self, command: list[str | Path]) -> None:
        self._program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def result(self) -> dict[str, Any]:
        """What the program prints at its end. Raises `RuntimeError` with its words."""
        told, said = self._program.communicate()
        if self._program.returncode != 0:
            raise RuntimeError(said.strip())
        result: dict[str, Any] = json.loads(told)
        return result

    def stop(self) -> dict[str, Any]:
        """Ends it before its time."""
        self._program.send_signal(signal.SIGINT)
        return self.result()


@dataclass
class Generator:
    """The program, and the requests that it sends."""

    program: Path
    csrs: Path
    count: int = field(default=0)

    @classmethod
    def build(cls, directory: Path, csrs: int) -> Generator:
        """Compiles it and makes that many CSRs. Raises `NoGo`."""
        go = shutil.which("go")
        if go is None:
            raise NoGo(
                "The load generator is written in Go; install Go 1.19 or later (Debian: golang-go, Homebrew: go)."
            )
        program = directory / "load"
        built = subprocess.run(
            [go, "build", "-o", program, "."], cwd=SOURCE, capture_output=True, text=True, check=False
        )
        if built.returncode != 0:
            raise NoGo(f"The load generator does not build: {built.stderr.strip()}")
        with (directory / "csrs").open("w") as stream:
            subprocess.run([program, "csrs", "-count", str(csrs)], stdout=stream, check=True)
        return cls(program, directory / "csrs", csrs)

    def enrol(
        self, target: Target, *, clients: int, seconds: float, warm_up: float = 0.5, fresh: bool = False
    ) -> dict[str, Any]:
        """One measurement, as the program prints it; the target's tokens are spent by it."""
        command: list[str | Path] = [
            *(self.program, "enrol", "-url", target.url, "-root", target.root),
            *("-csrs", self.csrs, "-tokens", target.tokens, "-first", str(target.spent)),
            *("-clients", str(clients), "-duration", f"{seconds}s", "-warm-up", f"{warm_up}s"),
            *(["-fresh"] if fresh else []),
        ]
        result = Running(command).result()
        target.spent += result["sent"]
        return result

    def ask(self, url: str, questions: Path, asking: Asking, *, first: int = 0) -> Running:
        """Starts to ask the OCSP responder at `url` the questions of a file, base64 one a line, from the `first` on."""
        command: list[str | Path] = [
            *(self.program, "ask", "-url", url, "-questions", questions, "-first", str(first)),
            *("-clients", str(asking.clients), "-duration", f"{asking.seconds}s", "-warm-up", f"{asking.warm_up}s"),
            *("-rate", str(asking.rate)),
            *(flag for flag, is_set in asking.flags().items() if is_set),
        ]
        return Running(command)
