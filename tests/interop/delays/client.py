"""What every relying party here has in common, and what it is given."""

from __future__ import annotations

import shutil
import subprocess
from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from cryptography import x509

from tests.interop.subject import Subject, crl_url_of, fetch, write

RUN_SECONDS = 60.0


class Missing(Exception):  # noqa: N818 (a fact, not a fault)
    """A program that is not on this machine, and what to install."""


class Unclear(AssertionError):  # noqa: N818
    """A client said neither that it accepts nor that the certificate is revoked: its words."""


@dataclass(frozen=True)
class Trust:
    """What a relying party knows of the authority."""

    root: Path
    issuing: Path
    both: Path
    """Root and issuing CA in one file, for clients that build no chain to an OCSP signer."""
    full_url: str
    """The issuing CA's full CRL."""
    root_url: str
    """The root's."""
    bundle_url: str
    """Both in PEM."""

    def bundle(self) -> bytes:
        """Both levels' lists, for servers that check every one."""
        return fetch(self.bundle_url)


@dataclass(frozen=True)
class Agent:
    """An agent's certificate with its key, and a folder for the one client that it is shown to."""

    folder: Path
    subject: Subject
    key: Path


class Client(ABC):
    """One relying party, made for one agent and then asked again and again."""

    name: ClassVar[str]
    mechanism: ClassVar[str]
    bound: ClassVar[str]
    """What the delay is made of, in words."""
    seconds: ClassVar[float]
    """The longest that this may be."""
    pause: ClassVar[float] = 0.02
    """Seconds between two checks."""

    def __init__(self, agent: Agent, trust: Trust) -> None:
        self.agent = agent
        self.trust = trust
        self.ends = ExitStack()
        """What is closed at the end."""

    @abstractmethod
    def prepare(self) -> None:
        """Everything that is done once. Raises `Missing`."""

    @abstractmethod
    def accepts(self) -> bool:
        """One check now. False is revoked; anything else that is not acceptance raises `Unclear`."""

    def aftermath(self) -> Aftermath:
        """What became of what was open before, asked once the client refuses."""
        return Aftermath()


@dataclass(frozen=True)
class Aftermath:
    """Of a server: whether a connection from before goes on, and whether a session from before can be resumed."""

    connection: str = ""
    session: str = ""


def tool(install: str, *names: str) -> str:
    """The first of these programs that there is. Raises `Missing`."""
    for name in names:
        # Debian keeps servers where only root's PATH leads.
        if found := shutil.which(name) or shutil.which(f"/usr/sbin/{name}"):
            return found
    raise Missing(f"{names[-1]} is not on this machine; install {install}")


def run(*command: str | Path) -> str:
    """All that a program says. Exit statuses are not asked: `openssl ocsp` has 0 for a revoked certificate."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=RUN_SECONDS,
    )
    return done.stdout


def verdict(said: str, *, accepted: str, revoked: str) -> bool:
    """Which of the two a client said. Raises `Unclear` for neither and for both."""
    if (accepted in said) == (revoked in said):
        raise Unclear(said)
    return accepted in said


def trust(folder: Path, root: Path, issuing: x509.Certificate, status_url: str) -> Trust:
    """The files of a relying party, in this folder."""
    anchor = x509.load_pem_x509_certificate(root.read_bytes())
    return Trust(
        root=root,
        issuing=write(folder / "issuing.pem", issuing),
        both=write(folder / "trust.pem", anchor, issuing),
        full_url=f"{status_url}/crl/issuing-1.crl",
        root_url=crl_url_of(issuing),
        bundle_url=f"{status_url}/crl/bundle.pem",
    )
