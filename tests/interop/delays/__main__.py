"""`python -m tests.interop.delays`: measures every client and writes the table of docs/delays.md anew."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.interop.delays.client import Missing
from tests.interop.delays.measure import SETTINGS, measuring
from tests.interop.delays.table import table, write
from tests.world import World


def main() -> int:
    """Exit status 1 when a client is missing."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        world = World(folder, **SETTINGS).init().start()
        try:
            with measuring(world, folder) as measured:
                delays = [future.result() for future in measured.values()]
        except Missing as missing:
            sys.stderr.write(f"{missing}\n")
            return 1
        finally:
            world.stop()
    write(delays)
    print(table(delays))
    return 0


if __name__ == "__main__":
    sys.exit(main())
