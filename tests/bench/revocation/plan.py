"""What is measured of revocation, and how long."""

from __future__ import annotations

from dataclasses import dataclass, replace

OURS, FLOOR, OPENSSL = "remit", "floor", "openssl"
CACHED, FRESH, NONCE = "cached", "fresh", "nonce"
POST, GET = "POST", "GET"

ANSWERS, LISTS, DELAYS, MASS = "answers", "lists", "delays", "mass"
PARTS = (ANSWERS, LISTS, DELAYS, MASS)

MILLION = 1_000_000


@dataclass(frozen=True)
class Cell:
    """One way of asking: whom, how the answers come about, by which method."""

    system: str
    answers: str
    method: str


CELLS = tuple(
    Cell(system, answers, method)
    for system, answers in ((OURS, CACHED), (FLOOR, CACHED), (OURS, FRESH), (OPENSSL, FRESH), (OURS, NONCE))
    for method in (POST, GET)
)
"""In the order in which each round runs them: what is compared stands side by side."""


@dataclass(frozen=True)
class Place:
    """A database, and how many responders answer from it, each a process of its own."""

    database: str
    responders: int


@dataclass(frozen=True)
class Plan:
    """Answers in so many rounds of so many seconds, lists of so many entries, probes, and a mass revocation."""

    places: tuple[Place, ...]
    rounds: int
    seconds: float
    warm_up: float
    listed: tuple[int, ...]
    publications: int
    probes: int
    mass: int
    parts: tuple[str, ...] = PARTS
    clients: int = 32
    known: int = 256
    """The certificates that are asked about again and again."""
    load: float = 1000.0
    """OCSP requests a second during delays and the mass revocation, at all responders together."""

    def only(self, parts: tuple[str, ...]) -> Plan:
        """These parts; all for none."""
        return replace(self, parts=parts or self.parts)

    def whole(self) -> Plan:
        """With a million certificates revoked by one call."""
        return replace(self, mass=MILLION)

    @property
    def fresh(self) -> int:
        """Certificates that suffice for a question about another one each time: what a core could answer, doubled."""
        return int(2 * self.rounds * (self.seconds + self.warm_up) * 12_000)


QUICK = Plan(
    (Place("sqlite", 1),),
    rounds=1,
    seconds=0.8,
    warm_up=0.2,
    listed=(10_000,),
    publications=1,
    probes=10,
    mass=10_000,
)

FULL = Plan(
    (Place("sqlite", 1), Place("postgresql", 4)),
    rounds=3,
    seconds=4.0,
    warm_up=1.0,
    listed=(10_000, 100_000, MILLION),
    publications=3,
    probes=100,
    mass=100_000,
)
