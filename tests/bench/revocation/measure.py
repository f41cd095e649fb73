"""Runs a plan: each part on what it needs, all in one run, so that ratios hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.databases import Databases
from tests.bench.generator import Generator
from tests.bench.measure import Say
from tests.bench.revocation import answers, delays, lists, mass
from tests.bench.revocation.answers import Rounds
from tests.bench.revocation.plan import ANSWERS, DELAYS, LISTS, MASS, Plan
from tests.bench.revocation.site import running


@dataclass
class Measured:
    """Everything that was seen, part by part; seconds and KiB."""

    answers: Rounds = field(default_factory=dict)
    lists: list[dict[str, Any]] = field(default_factory=list)
    delays: list[dict[str, Any]] = field(default_factory=list)
    mass: list[dict[str, Any]] = field(default_factory=list)


def run(plan: Plan, directory: Path, databases: Databases, generator: Generator, say: Say) -> Measured:
    """Measures every part of the plan; answers at the first place alone."""
    measured = Measured()
    if LISTS in plan.parts:
        measured.lists = lists.measure(plan, directory, databases, generator, say)
    for place in plan.places if {ANSWERS, DELAYS, MASS} & set(plan.parts) else ():
        say(f"{place.database}: making an authority and its certificates; responders: {place.responders}")
        with running(place, plan, directory, databases, generator) as site:
            if ANSWERS in plan.parts and place == plan.places[0]:
                measured.answers = answers.measure(site, plan, generator, say)
            if DELAYS in plan.parts:
                measured.delays.append(delays.measure(site, plan, generator, say))
            if MASS in plan.parts:
                measured.mass.append(mass.measure(site, plan, generator, say))
    return measured
