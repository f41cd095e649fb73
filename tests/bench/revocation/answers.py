"""OCSP answers a second, how long each takes, and what it costs: ours, the floor beneath it, and OpenSSL's responder.

The load generator shares the cores with who is asked, so a rate says what the machine does and not
what the service costs. `per_core` does: answers for each second of CPU time of the service's process.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.generator import Asking, Generator
from tests.bench.measure import Say
from tests.bench.process import cpu_seconds
from tests.bench.revocation import responders
from tests.bench.revocation.plan import CACHED, CELLS, FLOOR, FRESH, GET, NONCE, OPENSSL, OURS, Cell, Plan
from tests.bench.revocation.questions import questions
from tests.bench.revocation.responders import Responder
from tests.bench.revocation.site import Site

_PRIMING = 1.0
"""Seconds in which what is kept is signed for the first time."""

_BURST = 1.0
"""Seconds in which what the meter allows at once is used up: what is measured is what it allows for ever."""

Rounds = dict[Cell, list[dict[str, Any]]]


@dataclass
class _Stock:
    """A file of questions, and how many were asked; the questions about known certificates are asked again."""

    file: Path
    again: bool = False
    asked: int = field(default=0)


def measure(site: Site, plan: Plan, generator: Generator, say: Say) -> Rounds:
    """For each cell what the load generator printed, round by round, with `per_core`."""
    known = site.take(plan.known)
    fresh = site.take(plan.fresh)
    stocks = {
        CACHED: _Stock(site.ask("known", known), again=True),
        FRESH: _Stock(site.ask("fresh", fresh)),
        NONCE: _Stock(site.ask("nonces", fresh, nonces=True)),
    }
    rounds: Rounds = defaultdict(list)
    with ExitStack() as started:
        asked = {OURS: site.responders[0]}
        asked[FLOOR] = responders.floor(site.ours, next(questions(site.issuer, known)))
        started.callback(asked[FLOOR].stop)
        asked[OPENSSL] = responders.openssl(site.ours, site.issuer, known)
        started.callback(asked[OPENSSL].stop)
        # The kept answers are signed once beforehand.
        generator.ask(asked[OURS].ocsp_url, stocks[CACHED].file, Asking(plan.clients, _PRIMING, again=True)).result()
        for number in range(1, plan.rounds + 1):
            for cell in CELLS:
                say(f"answers: round {number} of {plan.rounds}: {cell.system}, {cell.answers}, {cell.method}")
                # OpenSSL keeps no answer: each is a fresh one, whatever it is asked.
                stock = stocks[CACHED if cell.system == OPENSSL else cell.answers]
                rounds[cell].append(_once(cell, plan, asked[cell.system], stock, generator))
    return rounds


def _once(cell: Cell, plan: Plan, asked: Responder, stock: _Stock, generator: Generator) -> dict[str, Any]:
    asking = Asking(
        clients=plan.clients,
        seconds=plan.seconds,
        warm_up=max(plan.warm_up, _BURST) if cell.answers == NONCE else plan.warm_up,
        get=cell.method == GET,
        again=stock.again,
        fresh=cell.system == OPENSSL,
    )
    before = cpu_seconds(asked.pid)
    seen = generator.ask(asked.ocsp_url, stock.file, asking, first=0 if stock.again else stock.asked).result()
    spent = cpu_seconds(asked.pid) - before
    stock.asked += seen["sent"]
    return seen | {"per_core": seen["sent"] / spent}
