"""Revocations to published CRLs.

The number is taken, and committed, before the signature: a crash wastes a number and never uses
one twice. A list replaces only an older one, so of two writers the newer wins.
"""

from __future__ import annotations

from asyncio import to_thread, wrap_future
from datetime import datetime, timedelta

from ca.authority.authority import Authority
from ca.pki import crl, signed
from ca.pki.certificate import Issuer
from ca.pki.crl import Scope
from ca.pki.crl_lint import Wanted, lint_crl
from ca.pki.lint import Linted
from ca.refusals import Reason, Refused
from ca.store import issuers, revocations
from ca.store.issuers import PublishedCrl
from ca.store.transaction import Connection

GRACE = timedelta(hours=1)
"""How long after its expiry, and one CRL more, a certificate stays listed (RFC 5280 3.3)."""


def lists(authority: Authority) -> list[tuple[Issuer, Scope]]:
    """The lists of this authority: the root's, and of the issuing CA the full one and its shards."""
    pointers = authority.issuer.pointers
    shards = [Scope(number, pointers.list(number)) for number in range(1, authority.crl_shards + 1)]
    return [(authority.root, Scope()), *((authority.issuer, scope) for scope in (Scope(), *shards))]


async def publish(authority: Authority) -> list[PublishedCrl]:
    """Signs and publishes every CRL of this authority anew.

    Raises `Refused` when the signer or the database cannot; what was published stays in force.
    """
    return [await _publish(authority, issuer, scope) for issuer, scope in lists(authority)]


async def _publish(authority: Authority, issuer: Issuer, scope: Scope) -> PublishedCrl:
    number = await wrap_future(
        authority.database.write(lambda connection: issuers.take_crl_number(connection, issuer.id))
    )
    drafted = await _sign(authority, issuer, scope, number)
    return await wrap_future(authority.database.write(lambda connection: _put(connection, drafted)))


def _put(connection: Connection, drafted: PublishedCrl) -> PublishedCrl:
    """The list in force afterwards: ours, unless a newer one is there."""
    if issuers.publish(connection, drafted):
        return drafted
    return issuers.crl(connection, drafted.issuer, drafted.shard) or drafted


async def _sign(authority: Authority, issuer: Issuer, scope: Scope, number: int) -> PublishedCrl:
    this_update = authority.clock().replace(microsecond=0)
    next_update = this_update + authority.crl_lifetime
    linted = await to_thread(_draft, authority, issuer, scope, number, this_update, next_update)
    signatures = await wrap_future(authority.signer.sign(issuer.public_key, [linted.to_be_signed.tbs]))
    try:
        [signature] = signatures
        der = signed.seal(linted.to_be_signed, signature, issuer.public_key)
    except (signed.InvalidSignature, ValueError) as error:
        authority.signer.distrust(issuer.public_key, f"It returned a wrong signature over CRL {number}.")
        raise Refused(Reason.UNAVAILABLE, "The signer returned a signature that does not verify.") from error
    return PublishedCrl(issuer.id, scope.shard, number, this_update, next_update, der)


def _draft(
    authority: Authority, issuer: Issuer, scope: Scope, number: int, this_update: datetime, next_update: datetime
) -> Linted:
    with authority.database.read() as connection:
        revoked = revocations.entries(connection, issuer.id, scope.shard, this_update - GRACE - authority.crl_lifetime)
    to_be_signed = crl.to_be_signed(
        issuer,
        (crl.entry(one.serial, one.revoked_at, one.reason) for one in revoked),
        number=number,
        this_update=this_update,
        next_update=next_update,
        scope=scope,
    )
    return lint_crl(to_be_signed, Wanted(issuer, number, this_update, next_update, scope))
