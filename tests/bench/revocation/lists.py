"""How long a full CRL takes, step by step, and how much memory: each time in a fresh process on the same database."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.bench import filler
from tests.bench.databases import Databases
from tests.bench.generator import Generator
from tests.bench.measure import Say, modelled
from tests.bench.revocation import stored
from tests.bench.revocation.plan import Plan
from tests.bench.services import AGENTS, Ours

_RECENT = 600
"""Seconds during which they were issued: all are listed, because none has expired for long."""


def measure(plan: Plan, directory: Path, databases: Databases, generator: Generator, say: Say) -> list[dict[str, Any]]:
    """For each number of entries what `publishing` printed, publication by publication."""
    ours = Ours(directory / "lists", "softhsm", databases.new("sqlite", "lists")).init()
    modelled(ours, generator)
    told, there = [], 0
    try:
        for count in sorted(plan.listed):
            say(f"lists: revoking {count:,} certificates")
            filler.fill(ours.database_url, count - there, int(time.time()), AGENTS, _RECENT)
            stored.revoke_everything(ours.database_url, int(time.time()))
            there = count
            seen = []
            for number in range(1, plan.publications + 1):
                say(f"lists: {count:,} entries, publication {number} of {plan.publications}")
                seen.append(_publish(ours))
            told.append({"revoked": count, "publications": seen})
    finally:
        shutil.rmtree(ours.directory)
    return told


def _publish(ours: Ours) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.revocation.publishing"]
    done = subprocess.run(command, env=ours.environment, cwd=ours.directory, stdout=subprocess.PIPE, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told
