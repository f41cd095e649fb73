"""One certificate, from a decision to its bytes: intent, signature, result. Recovery is the same function.

    step                    persisted                           if we die after it
    1 intend (transaction)  the exact TBS and its serial, the   start-up finds the intent and goes on with
                            proof spent, the audit entry        step 2; it is revocable and never good
    2 sign (token)          nothing                             as after 1: the key may have signed, the row
                                                                says so, and signing once more is harmless
    3 record (transaction)  the verified signature, the audit   the certificate stands; a repeated request
                            entry                               with the same proof and key gets it

Requests that arrive together share the transactions of 1 and 3 and the hop of 2, because the
writer and the signer each take all that waits for them.
"""

from __future__ import annotations

from asyncio import wrap_future
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ca.authority.authority import Authority
from ca.identifiers import Serial, TenantId, Thumbprint
from ca.pki import certificate, keys, lint, signed
from ca.pki.certificate import Contents
from ca.pki.lint import Linted
from ca.refusals import Reason, Refused
from ca.store import audit, certificates, issuers
from ca.store.audit import Entry
from ca.store.certificates import Intent
from ca.store.transaction import Connection


@dataclass(frozen=True, slots=True)
class Decision:
    """What policy decided to certify, and what the registry keeps of it beside the certificate.

    `spend` uses up the proof, in the transaction of the intent; it raises `Refused` when another was quicker.
    """

    contents: Contents
    holder: str
    actor: str
    tenant: TenantId | None = None
    task: str | None = None
    spend: Callable[[Connection, Serial], None] | None = None
    detail: dict[str, Any] = field(default_factory=dict)


Decide = Callable[[Connection, datetime], Decision]
"""Reads what it needs inside the transaction of the intent, so that nothing can change in between."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that stands: its row and its bytes."""

    intent: Intent
    der: bytes

    @property
    def x5t(self) -> Thumbprint:
        """SHA-256 of the DER (RFC 8705 3.1)."""
        return Thumbprint.of(self.der)


async def issue(authority: Authority, decide: Decide) -> Issued:
    """Issues one certificate from this authority's issuing CA.

    Raises `Refused`; after a refusal nothing was signed, or what was signed stays recorded and never good.
    """
    intent = await wrap_future(authority.database.write(lambda connection: _intend(authority, connection, decide)))
    return await finish(authority, intent)


async def recover(authority: Authority) -> list[Issued]:
    """Finishes what a crash left between intent and result. Runs before the first request is taken."""
    with authority.database.read() as connection:
        left = certificates.unfinished(connection)
    return [await finish(authority, intent) for intent in left]


def _intend(authority: Authority, connection: Connection, decide: Decide) -> Intent:
    """Step 1. What it stores is byte for byte what step 2 hands to the signer."""
    now = authority.clock()
    decision = decide(connection, now)
    _refuse_shared_key(connection, decision, now)
    serial = Serial.assign(authority.replica, authority.random(18))
    linted = _draft(authority, decision.contents, serial, now)
    intent = Intent(
        issuer=authority.issuer.id,
        serial=serial,
        kind=decision.contents.kind,
        tenant=decision.tenant,
        holder=decision.holder,
        task=decision.task,
        key=keys.thumbprint(decision.contents.holder.public_key),
        not_before=decision.contents.validity.not_before,
        not_after=decision.contents.validity.not_after,
        crl_shard=issuers.ONLY_SHARD,
        to_be_signed=linted.to_be_signed,
        created_at=now,
    )
    if decision.spend is not None:
        decision.spend(connection, serial)
    certificates.intend(connection, intent)
    audit.append(connection, _entry(now, decision.actor, "certificate.intend", intent, decision.detail))
    return intent


def _refuse_shared_key(connection: Connection, decision: Decision, now: datetime) -> None:
    """A key that another identity holds a live certificate for is refused: two identities must not share one."""
    own = (decision.contents.kind, decision.tenant, decision.holder)
    key = keys.thumbprint(decision.contents.holder.public_key)
    if any(holder != own for holder in certificates.live_holders(connection, key, now)):
        raise Refused(Reason.KEY_REFUSED, "This key cannot be certified; make a new one.")


def _draft(authority: Authority, contents: Contents, serial: Serial, now: datetime) -> Linted:
    to_be_signed = certificate.to_be_signed(contents, serial, authority.issuer)
    return lint.lint_certificate(to_be_signed, contents, serial, authority.issuer, now)


async def finish(authority: Authority, intent: Intent) -> Issued:
    """Steps 2 and 3. Of several that finish one intent, the first is recorded and all return what it recorded.

    Raises `Refused`.
    """
    public_key = authority.issuer.public_key
    signatures = await wrap_future(authority.signer.sign(public_key, [intent.to_be_signed.tbs]))
    try:
        [signature] = signatures
        issued = Issued(intent, signed.seal(intent.to_be_signed, signature, public_key))
    except (signed.InvalidSignature, ValueError) as error:
        raise Refused(Reason.UNAVAILABLE, "The signer returned a signature that does not verify.") from error
    return await wrap_future(
        authority.database.write(lambda connection: _record(authority, connection, issued, signature))
    )


def _record(authority: Authority, connection: Connection, issued: Issued, signature: bytes) -> Issued:
    if not certificates.record(connection, issued.intent, signature, issued.x5t):
        earlier = certificates.by_serial(connection, issued.intent.serial)
        assert earlier is not None  # noqa: S101 (an intent is never deleted, and this one was finished already)
        return Issued(earlier.intent, earlier.der)
    detail = {"x5t#S256": issued.x5t.base64url}
    audit.append(connection, _entry(authority.clock(), "authority", "certificate.issue", issued.intent, detail))
    return issued


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
