"""The delays as a table in Markdown, and its place in the docs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tests.interop.delays.measure import Delay
from tests.world import CHECKOUT

DOCUMENT = CHECKOUT / "docs" / "delays.md"

_HEAD = ("client", "by", "refuses after", "the last check takes", "bounded by", "open connection", "session resumed")
_PLACE = re.compile(r"(?<=<!-- measured -->\n).*(?=<!-- end -->)", re.DOTALL)


def table(delays: Sequence[Delay]) -> str:
    """One row for each client."""
    head, *rows = (f"| {' | '.join(cells)} |" for cells in (_HEAD, *map(_row, delays)))
    return "\n".join([head, "|---" * len(_HEAD) + "|", *rows])


def write(delays: Sequence[Delay]) -> None:
    """Puts the table into the document, in place of the one before."""
    text, places = _PLACE.subn(lambda _: f"{table(delays)}\n", DOCUMENT.read_text())
    assert places == 1, f"{DOCUMENT} has no place for the table."
    DOCUMENT.write_text(text)


def _row(delay: Delay) -> tuple[str, ...]:
    client, left = delay.client, delay.aftermath
    taken = (f"{delay.seconds:.2f} s", f"{delay.check:.2f} s")
    return (client.name, client.mechanism, *taken, client.bound, left.connection, left.session)
