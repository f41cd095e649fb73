"""What a certificate of this authority says of itself, in the terms that are decided in."""

from __future__ import annotations

from collections.abc import Mapping

from ca.pki.extensions import carried
from ca.policy.ceiling import Lineage
from ca.policy.details import NO_DETAILS, Details
from ca.policy.reach import Reach
from ca.policy.scope import Scope


def said(der: bytes, arc: str, details: Mapping[bytes, Details]) -> tuple[Reach, Lineage | None]:
    """How far it reaches, and by whom it was delegated. `details`, by their digests, are what it has the digest of.

    Details that are nowhere any more grant nothing.
    """
    task, below = carried(der, arc)
    lineage = None
    if below is not None:
        lineage = Lineage(below.parent, below.root or below.parent, below.depth, below.max_depth)
    if task is None:
        return Reach(), lineage
    known = NO_DETAILS if task.details_sha256 is None else details.get(task.details_sha256, NO_DETAILS)
    return Reach(Scope.parse(task.scope), task.resources, known), lineage
