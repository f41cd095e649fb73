"""Every certificate of an agent revoked by one call, while others ask: does anybody have to wait?"""

from __future__ import annotations

import time
from typing import Any

from tests.bench.generator import Generator
from tests.bench.measure import Say
from tests.bench.revocation.delays import Witness
from tests.bench.revocation.load import background
from tests.bench.revocation.plan import Plan
from tests.bench.revocation.site import Site
from tests.bench.revocation.stored import VICTIM

_CALM = 2.0
"""Seconds for which the same load runs undisturbed, for comparison."""

_PATIENCE = 900.0


def measure(site: Site, plan: Plan, generator: Generator, say: Say) -> dict[str, Any]:
    """How long the call took, when everybody knew, and how those fared who asked from the call until then."""
    say(f"mass: {site.place.database}, {len(site.victims):,} certificates")
    last = site.victims[-1]
    Witness(site).expect_good(last)
    # Half of those asked about are among the revoked.
    asked = site.victims[: plan.known // 2] + site.take(plan.known // 2)
    with background(site, plan, generator, asked) as calm:
        time.sleep(_CALM)
    with site.ours.operator() as operator, background(site, plan, generator, asked) as load:
        start = time.monotonic()
        body = {"agent": VICTIM, "reason": "superseded"}
        answer = operator.post("/v1/revocations", json=body, timeout=_PATIENCE)
        since = time.monotonic()
        answer.raise_for_status()
        # Connections of their own: idle ones did not outlive the call.
        witness = Witness(site)
        seen, listed = witness.seen(last, since), witness.listed(last, since)
    return {
        "database": site.place.database,
        "responders": site.place.responders,
        "revoked": answer.json()["count"],
        "call": since - start,
        "seen": seen,
        "listed": listed,
        "calm": calm.told(),
        "load": load.told(),
    }
