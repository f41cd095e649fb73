"""The one-time enrolment token: 256 random bits behind a prefix that secret scanners recognise.

The database holds its SHA-256 alone: with that many random bits no slow hash is needed, and a
stolen database opens nothing.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime

from ca.identifiers import AgentId, Serial, TaskId, TenantId, Thumbprint
from ca.refusals import Reason, Refused
from ca.store import tokens
from ca.store.transaction import Connection

PREFIX = "remit_et_"
RANDOM_OCTETS = 32

_TOKEN = re.compile(PREFIX + r"[A-Za-z0-9_-]{43}")
_REFUSED = "The enrolment token is unknown, spent, expired or bound to another key; ask for a new one."


@dataclass(frozen=True, slots=True)
class Proven:
    """Who proved to be whom, and by what."""

    tenant: TenantId
    agent: AgentId
    task: TaskId | None
    token: Thumbprint


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


def prove(connection: Connection, token: Thumbprint, key: Thumbprint, now: datetime) -> Proven:
    """Reads the token, without spending it. One answer for every failure: it tells a stranger nothing.

    Raises `Refused(TOKEN_INVALID)`.
    """
    record = tokens.find(connection, token)
    if record is None or record.spent_on is not None or record.expires_at <= now:
        raise refused()
    if record.key is not None and record.key != key:
        raise refused()
    return Proven(tenant=record.tenant, agent=record.agent, task=record.task, token=token)


def spend(connection: Connection, proven: Proven, serial: Serial, now: datetime) -> None:
    """Spends the token on one certificate. Of any number of callers exactly one is not refused.

    Raises `Refused(TOKEN_INVALID)`.
    """
    if not tokens.spend(connection, proven.token, serial, now):
        raise refused()


def refused() -> Refused:
    """The one answer to every token that does not open."""
    return Refused(Reason.TOKEN_INVALID, _REFUSED)
