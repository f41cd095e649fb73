"""The one-time enrolment token: 256 random bits behind a prefix that secret scanners recognise.

The database holds its SHA-256 alone: with that many random bits no slow hash is needed, and a
stolen database opens nothing.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from datetime import datetime

from ca.identifiers import Thumbprint
from ca.refusals import Reason, Refused
from ca.store.tokens import TokenRecord

PREFIX = "remit_et_"
RANDOM_OCTETS = 32

_TOKEN = re.compile(PREFIX + r"[A-Za-z0-9_-]{43}")
_REFUSED = (
    "This proof of identity is not accepted: it is unknown, spent, expired, for another audience or bound to "
    "another key; bring a new one."
)


def mint(random: bytes) -> str:
    """A new token from 32 random octets."""
    if len(random) != RANDOM_OCTETS:
        raise ValueError("a token takes 32 random octets")
    return PREFIX + urlsafe_b64encode(random).rstrip(b"=").decode()


def hash_of(token: str) -> Thumbprint:
    """What the database knows a token by. Raises `Refused(TOKEN_INVALID)` for another form."""
    if not _TOKEN.fullmatch(token):
        raise refused()
    return Thumbprint.of(token.encode())


def check(record: TokenRecord | None, key: Thumbprint, now: datetime) -> TokenRecord:
    """The record of a token that opens. One answer for every failure: it tells a stranger nothing.

    Raises `Refused(TOKEN_INVALID)`.
    """
    if record is None or record.spent_on is not None or record.expires_at <= now:
        raise refused()
    if record.key is not None and record.key != key:
        raise refused()
    return record


def refused() -> Refused:
    """The one answer to every proof that does not convince, an outside one too."""
    return Refused(Reason.TOKEN_INVALID, _REFUSED)
