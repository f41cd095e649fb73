"""The second operator: what is more than policy lets one operator revoke is proposed, and another confirms it.

What is confirmed is the filter, not the list: whatever it names by then is revoked.
"""

from __future__ import annotations

from base64 import b32encode
from datetime import timedelta

from cryptography import x509

from ca.authority import revoke
from ca.authority.authority import Authority
from ca.authority.revoke import Order, Revoked
from ca.refusals import Reason, Refused
from ca.store import audit, proposals
from ca.store.audit import Entry
from ca.store.filters import Filter
from ca.store.proposals import Proposal
from ca.store.stillness import Stillness
from ca.store.transaction import Connection

LIFETIME = timedelta(hours=1)
"""How long a proposal stands."""

_RANDOM_OCTETS = 10


def revoke_or_propose(authority: Authority, wanted: Filter, reason: x509.ReasonFlags, actor: str) -> Revoked | Proposal:
    """Revokes what a filter names, or where that is more than one operator may revoke, proposes it.

    Raises `Refused` as `revoke.revoke_many` does.
    """

    def act(connection: Connection) -> Revoked | Proposal:
        revoke.check_not_own(connection, wanted)
        order = revoke.order_of(authority, reason, actor)
        if authority.alone_up_to is not None:
            count = revoke.count(connection, wanted, order.now)
            if count > authority.alone_up_to:
                return _propose(connection, authority, wanted, order, count)
        return revoke.revoke_within(connection, wanted, order)

    return authority.database.write(act, Stillness.EVERYTHING).result()


def confirm(authority: Authority, name: str, actor: str) -> tuple[x509.ReasonFlags, Revoked]:
    """Carries out what another operator proposed; the reason, and what was revoked.

    Raises `Refused`: NOT_FOUND, FORBIDDEN for who proposed it, CONFLICT where it was confirmed or has lapsed.
    """

    def act(connection: Connection) -> tuple[x509.ReasonFlags, Revoked]:
        now = authority.clock()
        proposal = proposals.find(connection, name)
        if proposal is None:
            raise Refused(Reason.NOT_FOUND, "There is no proposal of this name.")
        if proposal.proposed_by == actor:
            raise Refused(Reason.FORBIDDEN, "Who proposed a revocation does not confirm it: another operator must.")
        if now >= proposal.expires_at or not proposals.confirm(connection, name, actor, now):
            raise Refused(Reason.CONFLICT, "This proposal was confirmed already, or has lapsed; propose it anew.")
        detail = {"proposal": name, "proposed_by": proposal.proposed_by}
        order = Order(authority.issuer.id, proposal.reason, actor, now, detail)
        return proposal.reason, revoke.revoke_within(connection, proposal.wanted, order)

    return authority.database.write(act, Stillness.EVERYTHING).result()


def _propose(connection: Connection, authority: Authority, wanted: Filter, order: Order, count: int) -> Proposal:
    now = order.now.replace(microsecond=0)
    proposal = Proposal(
        id=b32encode(authority.random(_RANDOM_OCTETS)).decode().lower(),
        wanted=wanted,
        reason=order.reason,
        count=count,
        proposed_by=order.actor,
        proposed_at=now,
        expires_at=now + LIFETIME,
    )
    proposals.add(connection, proposal)
    detail = {"proposal": proposal.id, "reason": order.reason.value, "count": count}
    audit.append(connection, Entry(order.now, order.actor, "revocation.propose", "granted", detail=detail))
    return proposal
