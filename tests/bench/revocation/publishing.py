"""One publication of the issuing CA's full list in a process that did nothing else, timed and weighed.

python -m tests.bench.revocation.publishing     with REMIT_HOME; prints one JSON object
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from ca import assembly
from ca.authority import hierarchy, publish, publisher
from ca.authority.authority import Authority
from ca.config import Settings
from ca.store import crls, leases
from ca.store.crls import FULL
from ca.store.leases import Lease
from ca.store.transaction import Connection, Database

_STEPS = {
    "read": "ca.authority.lists:crls.entries",
    "compare": "ca.authority.lists:crl.names",
    "draft": "ca.authority.lists:crl.to_be_signed",
    "lint": "ca.authority.lists:lint_crl",
    "verify": "ca.authority.publish:signed.seal",
    "put": "ca.authority.publish:crls.put",
}
"""Each step by the function that does it, where the code that publishes finds it; the rest is signing and waiting."""


class Stopwatch:
    """Seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def watch(self, step: str, where: str) -> None:
        """Times every call of the function at `module:name`, in whichever thread it runs."""
        module, _, path = where.partition(":")
        *owners, name = path.split(".")
        owner: Any = importlib.import_module(module)
        for one in owners:
            owner = getattr(owner, one)
        setattr(owner, name, self.timed(step, getattr(owner, name)))

    def timed(self, step: str, act: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed."""

        def run(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return act(*arguments, **named)
            finally:
                self.seconds[step] += time.perf_counter() - start

        return run


async def full_list(authority: Authority) -> None:
    """Publishes what is measured, and nothing else."""

    def seize(connection: Connection) -> Lease:
        return leases.seize(connection, publisher.NAME, "benchmark", authority.clock() + publisher.LEASE)

    lease = await asyncio.wrap_future(authority.database.write(seize))
    await publish.publish(authority, lease, authority.issuer, [FULL])


def octets_of(authority: Authority) -> int:
    """How long the list in force is."""
    with authority.database.read() as connection:
        published = crls.find(connection, authority.issuer.id, FULL)
    assert published is not None, "it was published a moment ago"
    return len(published.der)


def main() -> int:
    """Prints seconds by step and in all, octets, and by how many KiB the peak exceeded what was resident before."""
    settings, stopwatch = Settings.load(), Stopwatch()
    for step, where in _STEPS.items():
        stopwatch.watch(step, where)
    with closing(Database(settings.database_url)) as database, closing(assembly.signer(settings)) as signer:
        root, issuer = hierarchy.load(database, settings.status_url) or sys.exit("There is no authority.")
        signer.start()
        assembly.adopt(signer, root, issuer)
        authority = assembly.authority(settings, database, signer, root, issuer)
        before = _resident("VmRSS")
        start = time.perf_counter()
        asyncio.run(full_list(authority))
        seconds = time.perf_counter() - start
        peak = _resident("VmHWM")
        octets = octets_of(authority)
        authority.close()
    told = {"seconds": seconds, "steps": stopwatch.seconds, "octets": octets, "memory": peak - before}
    print(json.dumps(told))
    return 0


def _resident(what: str) -> int:
    """KiB now (VmRSS) or at most until now (VmHWM): proc(5)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(what)))


if __name__ == "__main__":
    sys.exit(main())
