"""Go: crypto/x509 for the CRL, golang.org/x/crypto/ocsp for the answers; the program is in ../go."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.interop.delays.client import Client, Missing, run, tool, verdict
from tests.interop.delays.commands import ANSWER, LIST, PUBLICATION, VIEW

SOURCE = Path(__file__).parent.parent / "go"


def build(directory: Path) -> Path:
    """The compiled program. Its one dependency is fetched at the first run and checked against go.sum.

    Raises `Missing`.
    """
    go = tool("Go 1.19 or later (Debian: golang-go, Homebrew: go)", "go")
    fetched = _go(go, "mod", "download")
    if fetched.returncode != 0:
        raise Missing(f"golang.org/x/crypto is not here and could not be fetched: {fetched.stderr.strip()}")
    program = directory / "verify"
    built = _go(go, "build", "-o", program, ".")
    assert built.returncode == 0, built.stderr
    return program


def _go(*command: str | Path) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    return subprocess.run(command, cwd=SOURCE, env=settings, capture_output=True, text=True, check=False)


class Go(Client):
    """The program asks every source that the leaf names; each client reads one line of it."""

    name = "Go"
    line = ""

    def prepare(self) -> None:
        self.program = build(self.agent.folder)

    def accepts(self) -> bool:
        said = run(self.program, self.trust.root, self.agent.subject.presented)
        return verdict(said, accepted=f"{self.line} good", revoked=f"{self.line} revoked")


class GoCrl(Go):
    mechanism, bound, seconds, line = "`x509.RevocationList`", LIST, PUBLICATION, "crl"


class GoOcsp(Go):
    mechanism, bound, seconds, line = "`x/crypto/ocsp`", ANSWER, VIEW, "ocsp-sha256"
