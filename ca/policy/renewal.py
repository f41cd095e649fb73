"""When a certificate is to be renewed: early enough that the old one holds beside the new, and not all at once."""

from __future__ import annotations

from datetime import datetime, timedelta

_EARLIEST, _LATEST = 0.4, 0.6
_FLOOR = 0.2
"""Of a life. However long the overlap is wanted, nobody renews in a loop."""


def renew_after(made: datetime, end: datetime, overlap: timedelta, chance: float) -> datetime:
    """Half of the life, give or take a tenth of it by `chance` (0 to 1), so that what was made together is spread.

    Sooner where less than `overlap` would be left, in which a token that is bound to the old certificate
    (RFC 8705) goes on; but never before a fifth of the life.
    """
    life = end - made
    latest = min(_LATEST, max(_FLOOR, 1 - overlap / life)) if life else _LATEST
    earliest = latest * _EARLIEST / _LATEST
    return made + life * (earliest + (latest - earliest) * chance)
