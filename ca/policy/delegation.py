"""Delegation: what a parent's certificate lets a child have. Nothing widens, and nothing outlives its parent."""

from __future__ import annotations

from base64 import b32encode
from dataclasses import dataclass, replace
from datetime import datetime

from ca.identifiers import MAX_NAME, AgentId, Thumbprint
from ca.policy.ceiling import Agent, AgentState, Asked, Bound, Lineage
from ca.policy.reach import Reach
from ca.refusals import Reason, Refused

DEEPEST = 15
"""Generations below the first that a certificate can tell of."""


@dataclass(frozen=True, slots=True)
class Parent:
    """A live certificate that delegates: its agent as the registry has it now, and what the certificate says."""

    agent: Agent
    x5t: Thumbprint
    reach: Reach
    not_after: datetime
    lineage: Lineage | None = None


def bound(parent: Parent, asked: Asked) -> Bound:
    """What a child may have at most: its parent's reach and life, one generation deeper.

    Raises `Refused`: AGENT_SUSPENDED, DEPTH_EXCEEDED, LIFETIME_REFUSED.
    """
    if parent.agent.state is not AgentState.ACTIVE:
        raise Refused(Reason.AGENT_SUSPENDED, "The agent that delegates is suspended; an operator can resume it.")
    if asked.not_after is not None and asked.not_after > parent.not_after:
        raise Refused(
            Reason.LIFETIME_REFUSED,
            f"A child lives no longer than its parent, to {parent.not_after:%Y-%m-%dT%H:%M:%SZ}.",
        )
    reach = replace(parent.reach, scope=parent.reach.scope.intersection(parent.agent.ceiling))
    return Bound(reach, (parent.not_after,), _below(parent, asked))


def name(parent: AgentId, random: bytes) -> AgentId | None:
    """A child's name for one that gave it none; None where the parent's is too long for it."""
    made = f"{parent}.{b32encode(random).decode().rstrip('=').lower()}"
    return AgentId(made) if len(made) <= MAX_NAME else None


def child(parent: Agent, of_name: AgentId | None) -> Agent:
    """A child as it is registered when its parent first delegates to it: with no more than its parent has.

    Raises `Refused`: MALFORMED without a name, FORBIDDEN for one that is not the parent's own to give. Behind the
    parent's there is no other dot, so nobody names the child of an agent that is not there yet.
    """
    if of_name is None:
        raise Refused(Reason.MALFORMED, f"The name of {parent.id} leaves no room for a child's; give it a short one.")
    before, dot, own = of_name.rpartition(".")
    if not (dot and own) or before != parent.id:
        raise Refused(Reason.FORBIDDEN, f"A child of {parent.id} is named '{parent.id}.' and something without a dot.")
    return replace(parent, id=of_name, max_depth=max(0, parent.max_depth - 1), parent=parent.id)


def check_child(parent: Agent, known: Agent) -> None:
    """Raises `Refused(FORBIDDEN)` for an agent that this parent did not make."""
    if known.parent != parent.id:
        raise Refused(Reason.FORBIDDEN, "There is an agent of this name which is not a child of this one.")


def _below(parent: Parent, asked: Asked) -> Lineage:
    depth, deepest, root = 0, DEEPEST, parent.x5t
    if parent.lineage is not None:
        depth, deepest, root = parent.lineage.depth, parent.lineage.max_depth, parent.lineage.root
    deepest = min(deepest, depth + parent.agent.max_depth)
    depth += 1
    if depth > deepest:
        raise Refused(Reason.DEPTH_EXCEEDED, "This agent may not delegate any further.")
    if asked.levels is not None and depth + asked.levels > deepest:
        raise Refused(Reason.DEPTH_EXCEEDED, f"Below this child there may be {deepest - depth} generations at most.")
    return Lineage(parent.x5t, root, depth, deepest if asked.levels is None else depth + asked.levels)
