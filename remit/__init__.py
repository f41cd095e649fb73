"""What an agent imports, and the command `remit`: a client of the authority's API.

    from remit import AsyncAgent

    async with AsyncAgent.enroll() as me, me.client() as http:
        await http.get("https://api.example/")

Owns the agent's own key, its credential and how that is kept fresh, in memory or in files. Knows nothing of
the servers but their HTTP; `ca`, `ocsp` and `softhsm` are never imported here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from remit.agent import Agent, AsyncAgent
    from remit.credential import Credential
    from remit.failed import Failed
    from remit.upkeep import State

__all__ = ["Agent", "AsyncAgent", "Credential", "Failed", "State"]

_HOMES = {
    "Agent": "remit.agent",
    "AsyncAgent": "remit.agent",
    "Credential": "remit.credential",
    "Failed": "remit.failed",
    "State": "remit.upkeep",
}


def __getattr__(name: str) -> Any:
    """What is exported is imported when it is asked for, so that the command starts in tens of milliseconds."""
    if name not in _HOMES:
        raise AttributeError(f"module 'remit' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
