"""Certificates, from decisions to bytes, many at once: intent, signature, result. Recovery is the same function.

    step                    persisted                           if we die after it
    1 intend (transaction)  the exact TBS and its serial, the   start-up finds the intent and goes on with
                            proof spent, the idempotency key,   step 2; it is revocable and never good
                            the audit entry
    2 sign (token)          nothing                             as after 1: the key may have signed, the row
                                                                says so, and signing once more is harmless
    3 record (transaction)  the verified signature, the audit   the certificate stands; a repeated request
                            entry                               with the same proof and key gets it

What goes wrong with one request of a batch is that request's outcome; what goes wrong with the
batch is raised. The order of the steps, and who waits for whom, is `ca.authority.line`.
"""

from __future__ import annotations

from asyncio import to_thread, wrap_future
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from ca.identifiers import AgentId, OperatorName, Serial, SpiffeId, TenantId, Thumbprint
from ca.pki import certificate, lint, signed
from ca.pki.certificate import Contents
from ca.pki.lint import Linted
from ca.pki.profile import PROFILES, Kind, Validity
from ca.pki.stored_lint import Stored, lint_stored
from ca.refusals import Reason, Refused
from ca.store import audit, certificates, crls, idempotency, tokens
from ca.store.audit import Entry
from ca.store.certificates import Intent, Result
from ca.store.idempotency import Answered
from ca.store.transaction import Connection

if TYPE_CHECKING:
    from ca.authority.authority import Authority

_log = structlog.get_logger("remit.issuance")

BATCH = 128
"""Certificates of one transaction and one hop to the signer."""

CLOCK_TOLERANCE = timedelta(seconds=5)
"""How far the clocks of two replicas may lie apart, or one be set back by the network's time."""


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A request's idempotency key, by the digest of holder and key, and the digest of what it asked for."""

    key: Thumbprint
    request: Thumbprint


@dataclass(frozen=True, slots=True)
class Decision:
    """What policy decided to certify, and what the registry keeps of it beside the certificate.

    `token` is the proof that is spent on it, and `alongside` whatever else must be stored with the
    intent or not at all; both happen in its transaction. `parent` delegated to it; `line` is what it renews.
    """

    contents: Contents
    holder: str
    actor: str
    tenant: TenantId | None = None
    task: str | None = None
    token: Thumbprint | None = None
    idempotency: Idempotency | None = None
    parent: Serial | None = None
    line: Serial | None = None
    alongside: Callable[[Connection], None] | None = None
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Earlier:
    """The request was made before: it gets that certificate, if it stands and is for this key, or the refusal."""

    serial: Serial
    key: Thumbprint
    otherwise: Refused


@dataclass(frozen=True, slots=True)
class Denied:
    """Policy said no. `entry` is for the audit log, unless a stranger asked."""

    refusal: Refused
    entry: Entry | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that stands: its row, its bytes, and their SHA-256 (RFC 8705 3.1)."""

    intent: Intent
    der: bytes
    x5t: Thumbprint


@dataclass(frozen=True, slots=True)
class Sealed:
    """An intent and the signature over it, verified; not yet recorded."""

    issued: Issued
    signature: bytes


Verdict = Decision | Earlier | Denied
Outcome = Intent | Issued | Refused

Desk = Callable[["Authority", Connection, Sequence[Any], datetime], Sequence[Verdict]]
"""Decides on requests of one kind, inside the transaction of their intents: nothing can change in between."""


def intend(authority: Authority, desk: Desk, requests: Sequence[Any], connection: Connection) -> list[Outcome]:
    """Step 1. What it stores is byte for byte what step 2 hands to the signer.

    Raises `Refused(CONFLICT)` or `IntegrityError` when another was quicker with one of them: nothing is stored.
    """
    now = authority.clock().replace(microsecond=0)
    _check_clock(connection, now)
    verdicts = desk(authority, connection, requests, now)
    taken = _keys_of_others(connection, verdicts, now)
    replica = authority.replica(connection)
    drafts = [_draft(authority, connection, verdict, taken, replica, now) for verdict in verdicts]
    _store(connection, [draft for draft in drafts if isinstance(draft, _Draft)], now)
    denied = [verdict.entry for verdict in verdicts if isinstance(verdict, Denied) and verdict.entry is not None]
    audit.append(connection, *denied)
    return [draft.intent if isinstance(draft, _Draft) else draft for draft in drafts]


def sign(authority: Authority, intents: Sequence[Intent]) -> list[Sealed | Refused]:
    """Step 2, in one hop. A signature that does not verify is withheld, and its key is not trusted until proven.

    Blocks. Raises `Refused(UNAVAILABLE)` when the signer cannot sign: nothing was signed, as far as it knows.
    """
    key = authority.issuer.public_key
    signatures = authority.signer.sign(key, [intent.to_be_signed.tbs for intent in intents]).result()
    if len(signatures) != len(intents):
        signatures = [b""] * len(intents)
    return [_seal(authority, intent, signature) for intent, signature in zip(intents, signatures, strict=True)]


def record(authority: Authority, sealed: Sequence[Sealed], connection: Connection) -> list[Issued]:
    """Step 3. Of several that finish one intent, the first is recorded and all return what it recorded."""
    now = authority.clock()
    results = [Result(one.issued.intent, one.signature, one.issued.x5t) for one in sealed]
    recorded = certificates.record(connection, results)
    entries = [
        _entry(now, "authority", "certificate.issue", result.intent, {"x5t#S256": result.x5t.base64url})
        for result in results
        if result.intent.serial in recorded
    ]
    audit.append(connection, *entries)
    return [
        one.issued if one.issued.intent.serial in recorded else _recorded(connection, one.issued.intent)
        for one in sealed
    ]


def suspect(authority: Authority, intents: Sequence[Intent], connection: Connection) -> None:
    """Marks what the signer answered wrongly: no such certificate leaves, and its serial is known."""
    now = authority.clock()
    marked = certificates.suspect(connection, intents)
    audit.append(connection, *[_entry(now, "authority", "certificate.suspect", intent, {}) for intent in marked])


async def recover(authority: Authority, living: Container[int] = ()) -> list[Issued]:
    """Finishes what a crash left between intent and result; what does not fit its row is never signed.

    What the replicas with the octets `living` have under way is left to them.
    """
    with authority.database.read() as connection:
        left = [intent for intent in certificates.unfinished(connection) if intent.serial.octets[0] not in living]
    fit = [intent for intent in left if _fits(authority, intent)]
    if len(fit) < len(left):
        unfit = [intent for intent in left if intent not in fit]
        await wrap_future(authority.database.write(partial(suspect, authority, unfit)))
    finished: list[Issued] = []
    for start in range(0, len(fit), BATCH):
        results = await to_thread(sign, authority, fit[start : start + BATCH])
        sealed = [one for one in results if isinstance(one, Sealed)]
        finished += await wrap_future(authority.database.write(partial(record, authority, sealed)))
    return finished


def _fits(authority: Authority, intent: Intent) -> bool:
    """Whether what lies in the database is what this authority would have put there: another may have written it."""
    validity = Validity(intent.not_before, intent.not_after)
    stored = Stored(intent.serial, intent.key, validity, _path(authority, intent), intent.crl_shard, intent.created_at)
    try:
        lint_stored(intent.to_be_signed, stored, authority.issuer)
    except Refused as refusal:
        _log.critical("intent_unfit", serial=str(intent.serial), reason=refusal.detail)
        return False
    return True


def _path(authority: Authority, intent: Intent) -> str | None:
    domain = authority.names.trust_domain
    match intent.kind, intent.tenant:
        case Kind.AGENT, TenantId() as tenant:
            return SpiffeId.agent(domain, tenant, AgentId(intent.holder)).path
        case Kind.OPERATOR, _:
            return SpiffeId.operator(domain, OperatorName(intent.holder)).path
    return None


def _check_clock(connection: Connection, now: datetime) -> None:
    """A clock that went back would date certificates before others, and revocations before what they revoke."""
    latest = certificates.last_made(connection)
    if latest is not None and now < latest - CLOCK_TOLERANCE:
        raise Refused(
            Reason.UNAVAILABLE,
            f"The authority's clock is behind the last certificate, of {latest:%Y-%m-%dT%H:%M:%SZ}; nothing is issued "
            "until it is right again. If the earlier time was the wrong one, revoke what was made under it.",
        )


@dataclass(frozen=True, slots=True)
class _Draft:
    intent: Intent
    decision: Decision


def _draft(
    authority: Authority,
    connection: Connection,
    verdict: Verdict,
    taken: set[Thumbprint],
    replica: int,
    now: datetime,
) -> _Draft | Issued | Intent | Refused:
    match verdict:
        case Denied():
            return verdict.refusal
        case Earlier():
            return _earlier(connection, verdict, now)
    key = verdict.contents.holder.key_thumbprint
    if key in taken:
        return Refused(Reason.KEY_REFUSED, "This key cannot be certified; make a new one.")
    serial = Serial.assign(replica, authority.random(18))
    contents = _in_a_shard(verdict.contents, serial, authority.crl_shards)
    try:
        linted = _lint(authority, contents, serial, now)
    except Refused as refusal:
        return refusal
    intent = Intent(
        issuer=authority.issuer.id,
        serial=serial,
        kind=contents.kind,
        tenant=verdict.tenant,
        holder=verdict.holder,
        task=verdict.task,
        key=key,
        not_before=contents.validity.not_before,
        not_after=contents.validity.not_after,
        crl_shard=contents.crl or crls.FULL,
        to_be_signed=linted.to_be_signed,
        created_at=now,
        parent=verdict.parent,
        line=verdict.line,
    )
    return _Draft(intent, verdict)


def _in_a_shard(contents: Contents, serial: Serial, shards: int) -> Contents:
    """The same contents naming a shard, where they name a list and there are shards."""
    if contents.crl is None or not shards or not PROFILES[contents.kind].points_to_crl:
        return contents
    # The serial's 144 random bits make each as likely, and nobody chooses them: no second draw is needed.
    return replace(contents, crl=1 + serial.number % shards)


def _lint(authority: Authority, contents: Contents, serial: Serial, now: datetime) -> Linted:
    to_be_signed = certificate.to_be_signed(contents, serial, authority.issuer)
    return lint.lint_certificate(to_be_signed, contents, serial, authority.issuer, now)


def _earlier(connection: Connection, earlier: Earlier, now: datetime) -> Outcome:
    standing = certificates.standing(connection, earlier.serial)
    if standing is None or standing.state(now) != "live" or standing.intent.key != earlier.key:
        return earlier.otherwise
    found = certificates.by_serial(connection, earlier.serial)
    # One that a fault of the signer left unfinished is finished now.
    return standing.intent if found is None else Issued(found.intent, found.der, found.x5t)


def _keys_of_others(connection: Connection, verdicts: Sequence[Verdict], now: datetime) -> set[Thumbprint]:
    """Keys that another identity holds a live certificate for: two identities must not share one."""
    owners = {
        one.contents.holder.key_thumbprint: (one.contents.kind, one.tenant, one.holder)
        for one in verdicts
        if isinstance(one, Decision)
    }
    holders = certificates.live_holders(connection, owners, now) if owners else {}
    return {key for key, found in holders.items() if any(holder != owners[key] for holder in found)}


def _store(connection: Connection, drafts: Sequence[_Draft], now: datetime) -> None:
    spent = {draft.decision.token: draft.intent.serial for draft in drafts if draft.decision.token is not None}
    if not tokens.spend(connection, spent, now):
        raise Refused(Reason.CONFLICT, "Another request was quicker.")
    certificates.intend(connection, [draft.intent for draft in drafts])
    answered = [
        Answered(used.key, used.request, draft.intent.serial, draft.intent.not_after)
        for draft in drafts
        if (used := draft.decision.idempotency) is not None
    ]
    idempotency.remember(connection, answered, now)
    for draft in drafts:
        if draft.decision.alongside is not None:
            draft.decision.alongside(connection)
    audit.append(
        connection,
        *[_entry(now, one.decision.actor, "certificate.intend", one.intent, one.decision.detail) for one in drafts],
    )


def _seal(authority: Authority, intent: Intent, signature: bytes) -> Sealed | Refused:
    key = authority.issuer.public_key
    try:
        der = signed.seal(intent.to_be_signed, signature, key)
        return Sealed(Issued(intent, der, Thumbprint.of(der)), signature)
    except (signed.InvalidSignature, ValueError) as error:
        authority.signer.distrust(key, f"It returned a wrong signature over certificate {intent.serial}.")
        refusal = Refused(Reason.UNAVAILABLE, "The signer returned a signature that does not verify.")
        refusal.__cause__ = error
        return refusal


def _recorded(connection: Connection, intent: Intent) -> Issued:
    earlier = certificates.by_serial(connection, intent.serial)
    assert earlier is not None  # noqa: S101 (an intent is never deleted, and this one was finished already)
    return Issued(earlier.intent, earlier.der, earlier.x5t)


def _entry(now: datetime, actor: str, action: str, intent: Intent, detail: dict[str, Any]) -> Entry:
    return Entry(
        at=now,
        actor=actor,
        action=action,
        decision="granted",
        tenant=intent.tenant,
        agent=intent.holder if intent.kind == "agent" else None,
        task=intent.task,
        serial=str(intent.serial),
        detail={"kind": intent.kind.value, **detail},
    )
