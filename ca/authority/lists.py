"""Which CRLs there are, which of them are to be made anew, and what each must say: read, compared, drafted, linted."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from ca.authority.authority import Authority
from ca.pki import crl, signed
from ca.pki.certificate import Issuer
from ca.pki.crl import Scope
from ca.pki.crl_lint import Wanted, lint_crl
from ca.pki.lint import Linted
from ca.refusals import Reason, Refused
from ca.store import crls, revocations
from ca.store.crls import DELTA, FULL, Base, Heading
from ca.store.transaction import Connection

GRACE = timedelta(hours=1)
"""How long after its expiry, and one CRL more, a certificate stays listed (RFC 5280 3.3)."""

LONGEST_DELTA = 5000
"""Entries of a delta; with more it stands on a newer full list."""

COMPARED = 100_000
"""Entries of the longest list that is compared with the one before it. A longer one is the sum of its shards."""

_log = structlog.get_logger("remit.lists")


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be signed, and what is published once it is."""

    linted: Linted
    heading: Heading


@dataclass(frozen=True, slots=True)
class _View:
    """One view of the database, the list that is in force, and from when on certificates that expired have left."""

    connection: Connection
    issuer: Issuer
    previous: Heading | None
    left_before: datetime


def everything(authority: Authority, connection: Connection, issuer: Issuer) -> set[int]:
    """All lists of an issuer: those that its certificates name now, and those that they ever named."""
    known = {heading.shard for heading in crls.headings(connection, issuer.id)}
    return (known | _named(authority, issuer)) - {DELTA}


def behind(authority: Authority, connection: Connection, issuer: Issuer) -> set[int]:
    """Those that are missing, in the second quarter of their life, or not complete.

    Shards are published before the full list: up to its revision they are complete too.
    """
    now = authority.clock()
    known = {heading.shard: heading for heading in crls.headings(connection, issuer.id) if heading.shard != DELTA}
    due = _named(authority, issuer) - known.keys()
    due |= {number for number, heading in known.items() if _quarter_is_over(heading, now)}
    complete = known[FULL].revision if FULL in known else 0
    if complete < revocations.revision(connection, issuer.id):
        due |= {FULL, *crls.changed_shards(connection, issuer.id, complete)}
    return due


def drafts(authority: Authority, issuer: Issuer, taken: int, list_number: int, revision: int) -> list[Draft]:
    """A list with the CRL number `taken`, and beside the issuing CA's full one its delta: of one view of the database.

    All that changed up to `revision` is in it. Raises `Refused(LINT_FAILED)` when it is not what it must be.
    """
    with authority.database.read() as connection:
        previous = crls.heading(connection, issuer.id, list_number)
        # A clock that went back must not make a list older than the one before it.
        now = authority.clock().replace(microsecond=0)
        this_update = now if previous is None else max(now, previous.this_update)
        next_update = this_update + authority.crl_lifetime
        heading = Heading(issuer.id, list_number, taken, this_update, next_update, revision, entries=0)
        left_before = this_update - GRACE - authority.crl_lifetime
        if previous is not None:
            # What no list beyond its end has named stays for this one, however late this one comes (RFC 5280 3.3).
            left_before = min(left_before, previous.this_update)
        view = _View(connection, issuer, previous, left_before)
        if list_number != FULL:
            return [_whole(view, heading, Scope(distribution_point=issuer.pointers.list(list_number)))]
        delta = _delta(view, heading) if issuer is authority.issuer else []
        return [_whole(view, heading, Scope(freshest=issuer.pointers.delta if delta else None)), *delta]


def _named(authority: Authority, issuer: Issuer) -> set[int]:
    """The lists that new certificates may name; the full one is there always."""
    return {FULL, *range(1, authority.crl_shards + 1)} if issuer is authority.issuer else {FULL}


def _quarter_is_over(heading: Heading, now: datetime) -> bool:
    return now >= heading.this_update + (heading.next_update - heading.this_update) / 4


def _whole(view: _View, heading: Heading, scope: Scope) -> Draft:
    """A list of all that is revoked, which an index counts too, and which lacks nothing that the last one had."""
    runs = crls.entries(view.connection, heading.issuer, heading.shard, view.left_before)
    count = sum(len(run.serials) for run in runs) // crl.SERIAL_OCTETS
    counted = crls.counts(view.connection, heading.issuer, view.left_before)
    expected = sum(counted.values()) if heading.shard == FULL else counted.get(heading.shard, 0)
    if count != expected or not all(crl.names(run.der, run.serials) for run in runs):
        raise _unfit(heading, "its entries are not those of the rows that it must list")
    entries = [run.der for run in runs]
    # Of a million entries each copy that is let go counts.
    del runs
    if view.previous is not None and max(count, view.previous.entries) <= COMPARED:
        _compare(view, heading, entries)
    return _draft(view, entries, replace(heading, entries=count), scope)


def _compare(view: _View, heading: Heading, entries: Sequence[bytes]) -> None:
    """RFC 5280 3.3: an entry leaves once its certificate expired and one list more had it, or its hold was released."""
    previous = crls.find(view.connection, heading.issuer, heading.shard)
    if previous is None:
        return
    last = crl.serials(crl.parts(signed.tbs_of(previous.der)).entries)
    vanished = last.difference(*map(crl.serials, entries))
    lost = crls.without_reason(view.connection, heading.issuer, vanished, previous.revision, view.left_before)
    if lost:
        raise _unfit(heading, f"{len(lost)} entries of the list before it are gone", lost)


def _delta(view: _View, heading: Heading) -> list[Draft]:
    """The delta beside a full list (RFC 5280 5.2.4): on the base of the last delta, or else on the last full list.

    Nobody holds a base any longer than half of its life: there is a newer one by then.
    """
    if view.previous is None:
        return []
    last = crls.heading(view.connection, heading.issuer, DELTA)
    nearest = Base(view.previous.number, view.previous.this_update, view.previous.revision)
    for base in (last.base if last else None, nearest):
        if base is None or heading.this_update >= base.this_update + (heading.next_update - heading.this_update) / 2:
            continue
        changes = crls.changes(view.connection, heading.issuer, base.revision, view.left_before, LONGEST_DELTA)
        if changes is not None:
            named = replace(heading, shard=DELTA, entries=len(changes), base=base)
            return [_draft(view, changes, named, Scope(base=base.number))]
    return []


def _draft(view: _View, entries: Sequence[bytes], heading: Heading, scope: Scope) -> Draft:
    to_be_signed = crl.to_be_signed(
        view.issuer,
        entries,
        number=heading.number,
        this_update=heading.this_update,
        next_update=heading.next_update,
        scope=scope,
    )
    wanted = Wanted(view.issuer, heading.number, heading.this_update, heading.next_update, scope)
    return Draft(lint_crl(to_be_signed, wanted), heading)


def _unfit(heading: Heading, what: str, lost: Collection[bytes] = ()) -> Refused:
    serials = [serial.hex() for serial in list(lost)[:10]]
    _log.critical("list_unfit", issuer=heading.issuer, shard=heading.shard, what=what, serials=serials)
    return Refused(
        Reason.LINT_FAILED, f"List {heading.shard} of {heading.issuer} is not published: {what}. The last one stays."
    )
