"""The order in which a CRL is published.

    step                        persisted                       if we die after it
    1 number (transaction)      the number, taken               it is wasted, and never used twice
    2 draft, lint, sign, verify nothing                         as after 1
    3 put (transaction)         the list, in the place of the   the list is published
                                one before it

Both transactions fail once the lease is another's, and the third step changes nothing where a newer
list is there: of two writers the newer wins. Shards come first and the full list last (`ca.authority.lists`).
"""

from __future__ import annotations

from asyncio import to_thread, wrap_future
from collections.abc import Collection, Sequence
from functools import partial

from ca.authority import lists
from ca.authority.authority import Authority
from ca.authority.lists import Draft
from ca.pki import signed
from ca.pki.certificate import Issuer
from ca.refusals import Reason, Refused
from ca.store import crls, leases, revocations
from ca.store.crls import DELTA, FULL, Heading, PublishedCrl
from ca.store.leases import Lease
from ca.store.transaction import Connection


async def publish(authority: Authority, lease: Lease, issuer: Issuer, numbers: Collection[int]) -> list[Heading]:
    """Makes these lists of an issuer, the full one with its delta; those that are in force then.

    Raises `Refused`: UNAVAILABLE when the signer or the database cannot, CONFLICT when the lease is lost,
    LINT_FAILED when a list is not what it must be: then the others are published all the same. What was
    published stays in force.
    """
    with authority.database.read() as connection:
        revision = revocations.revision(connection, issuer.id)
    published: list[Heading] = []
    unfit: list[Refused] = []
    for number in sorted(numbers, key=lambda number: (number == FULL, number)):
        try:
            # Beside a shard that could not be made the full list stands for no revision: all is tried again.
            published += await _publish(authority, lease, issuer, number, 0 if unfit else revision)
        except Refused as refusal:
            if refusal.reason is not Reason.LINT_FAILED:
                raise
            unfit.append(refusal)
    if unfit:
        raise unfit[0]
    return published


async def _publish(
    authority: Authority, lease: Lease, issuer: Issuer, list_number: int, revision: int
) -> list[Heading]:
    taken = await wrap_future(authority.database.write(partial(_take_number, authority, lease, issuer)))
    drafts = await to_thread(lists.drafts, authority, issuer, taken, list_number, revision)
    messages = [draft.linted.to_be_signed.tbs for draft in drafts]
    signatures = await wrap_future(authority.signer.sign(issuer.public_key, messages))
    made = await to_thread(_sealed, authority, issuer, drafts, signatures)
    # Of a million entries each copy that is let go counts.
    del drafts, messages
    return await wrap_future(authority.database.write(partial(_put, lease, made)))


def _take_number(authority: Authority, lease: Lease, issuer: Issuer, connection: Connection) -> int:
    """At least the milliseconds since 1970: what a restored backup has forgotten was smaller."""
    _check(connection, lease)
    return crls.take_number(connection, issuer.id, int(authority.clock().timestamp() * 1000))


def _sealed(
    authority: Authority, issuer: Issuer, drafts: Sequence[Draft], signatures: Sequence[bytes]
) -> list[PublishedCrl]:
    try:
        return [
            _published(draft, signed.seal(draft.linted.to_be_signed, signature, issuer.public_key))
            for draft, signature in zip(drafts, signatures, strict=True)
        ]
    except (signed.InvalidSignature, ValueError) as error:
        number = drafts[0].heading.number
        authority.signer.distrust(issuer.public_key, f"It returned a wrong signature over CRL {number}.")
        raise Refused(Reason.UNAVAILABLE, "The signer returned a signature that does not verify.") from error


def _published(draft: Draft, der: bytes) -> PublishedCrl:
    """As everybody will read it: the bytes that were linted, and no others. Raises `ValueError`."""
    if signed.tbs_of(der) != draft.linted.to_be_signed.tbs:
        raise ValueError("another list than the one that was drafted")
    one = draft.heading
    times = (one.this_update, one.next_update)
    return PublishedCrl(one.issuer, one.shard, one.number, *times, one.revision, one.entries, one.base, der)


def _put(lease: Lease, made: Sequence[PublishedCrl], connection: Connection) -> list[Heading]:
    """What is in force afterwards: ours, unless a newer one is there. A full list without a delta ends the last one."""
    _check(connection, lease)
    for one in made:
        crls.put(connection, one)
    written = {one.shard for one in made}
    if FULL in written and DELTA not in written:
        crls.withdraw(connection, made[0].issuer, DELTA)
    return [one for one in crls.headings(connection, made[0].issuer) if one.shard in written]


def _check(connection: Connection, lease: Lease) -> None:
    if not leases.holds(connection, lease):
        raise Refused(Reason.CONFLICT, "Another replica publishes the lists now.")
