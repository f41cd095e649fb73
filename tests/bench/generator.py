"""The load generator: built from `load/` with Go, run against one target at a time."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SOURCE = Path(__file__).with_name("load")
_START_SECONDS = 30


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

    def wait_until_it_listens(self, service: subprocess.Popen[bytes], log: Path) -> None:
        """Until the port takes connections. Raises `RuntimeError` with the log when the process ends first."""
        address = urlsplit(self.url)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if service.poll() is not None:
                break
            with socket.socket() as probe:
                if probe.connect_ex((address.hostname or "", address.port or 0)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"{self.url} does not listen:\n{log.read_text()}")


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

    def run(
        self, target: Target, *, clients: int, seconds: float, warm_up: float = 0.5, fresh: bool = False
    ) -> dict[str, Any]:
        """One measurement, as the program prints it; the target's tokens are spent by it."""
        command: list[str | Path] = [
            *(self.program, "run", "-url", target.url, "-root", target.root),
            *("-csrs", self.csrs, "-tokens", target.tokens, "-first", str(target.spent)),
            *("-clients", str(clients), "-duration", f"{seconds}s", "-warm-up", f"{warm_up}s"),
            *(["-fresh"] if fresh else []),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        result: dict[str, Any] = json.loads(done.stdout)
        target.spent += result["sent"]
        return result
