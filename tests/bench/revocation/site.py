"""An authority that issued much, with its responders: what answers, delays and the mass revocation are measured on."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from ca.authority.hierarchy import ISSUING
from tests.bench import filler
from tests.bench.databases import Databases
from tests.bench.generator import Generator
from tests.bench.measure import modelled
from tests.bench.revocation import responders, stored
from tests.bench.revocation.plan import ANSWERS, MASS, Place, Plan
from tests.bench.revocation.questions import questions, write
from tests.bench.revocation.responders import Responder
from tests.bench.services import AGENTS, Ours

_ALIVE = 60
"""The certificates were issued during so many seconds, so they live for thirteen minutes more."""

_SPARE = 2000


@dataclass
class Site:
    """`serials` are those of live certificates that nobody asked about yet; `victims` those of the one agent."""

    place: Place
    ours: Ours
    responders: list[Responder]
    issuer: x509.Certificate
    serials: list[bytes]
    victims: list[bytes]

    def take(self, count: int) -> list[bytes]:
        """So many certificates for one use. Raises `RuntimeError` where they are up."""
        if count > len(self.serials):
            raise RuntimeError(f"{count} more certificates are needed, and {len(self.serials)} are left")
        taken, self.serials = self.serials[:count], self.serials[count:]
        return taken

    def ask(self, name: str, serials: list[bytes], *, nonces: bool = False) -> Path:
        """A file of questions about these."""
        return write(self.ours.directory / name, questions(self.issuer, serials, nonces=nonces))

    @property
    def crl_path(self) -> str:
        """Where a responder has the full list."""
        return f"/crl/{ISSUING}.crl"


@contextmanager
def running(place: Place, plan: Plan, directory: Path, databases: Databases, generator: Generator) -> Iterator[Site]:
    """The site with its services up, and its certificates stored."""
    url = databases.new(place.database, "revocation")
    ours = Ours(directory / f"{place.database}-{place.responders}", "softhsm", url).init()
    modelled(ours, generator)
    everybody = _SPARE + plan.known + (plan.fresh if ANSWERS in plan.parts else 0)
    filler.fill(ours.database_url, everybody, int(time.time()), AGENTS, _ALIVE)
    if MASS in plan.parts:
        filler.fill(ours.database_url, plan.mass, int(time.time()), 1, _ALIVE)
    _, issuer = x509.load_pem_x509_certificates((ours.home / "tls" / "tls.crt").read_bytes())
    others, victims = (stored.serials(ours.database_url, victim=victim) for victim in (False, True))
    answering: list[Responder] = []
    try:
        ours.start()
        answering.append(responders.own(ours))
        answering += [responders.replica(ours) for _ in range(place.responders - 1)]
        yield Site(place, ours, answering, issuer, others, victims)
    finally:
        for one in answering:
            one.stop()
        ours.stop()
        shutil.rmtree(ours.directory)
