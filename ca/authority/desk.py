"""The desk for agents' certificates: enrolments, renewals and delegations are decided on together, in one transaction.

What was suspended, ended or revoked a moment ago is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from cryptography import x509

from ca.authority import agents as registry
from ca.authority import facts as facts_of
from ca.authority import tasks as tasks_of
from ca.authority.authority import Authority
from ca.authority.claims import Application, ByAttestation, ByToken, Claim, Proven
from ca.authority.facts import Facts, idempotency_of
from ca.authority.issuance import Decision, Denied, Earlier, Issued, Verdict
from ca.identifiers import SpiffeId
from ca.pki import csr, keys, profile
from ca.pki.certificate import Contents, Holder
from ca.pki.csr import CertificateRequest
from ca.pki.extensions import AgentDelegation, AgentTask, private_extension
from ca.pki.profile import Kind, Validity
from ca.policy import ceiling
from ca.policy.asking import Asking
from ca.policy.ceiling import Grant, Lineage
from ca.policy.rules import Judgement
from ca.proofs import token
from ca.refusals import Reason, Refused
from ca.store import crls, details, spent_proofs
from ca.store.agents import AgentRecord
from ca.store.audit import Entry
from ca.store.stillness import Stillness
from ca.store.transaction import Connection

_log = structlog.get_logger("remit.desk")


async def apply(authority: Authority, application: Application) -> Issued:
    """One certificate for one application.

    A repeated one, by the same token and the same key or by an idempotency key, gets the certificate
    that the first one was answered with: an answer that was lost on the way costs nothing. Raises `Refused`.
    """
    request = application.request
    keys.admit(request.public_key, rsa_allowed=authority.rsa_allowed, known=authority.known_keys)
    # What a certificate lets somebody have is not revoked while it is decided on.
    still = Stillness.REVOKING if application.claim.shown is not None else None
    return await authority.line.issue(decide, application, marks(application), still)


def marks(application: Application) -> list[bytes]:
    """What two applications must not share to be decided on together: a proof, a child, a key, an idempotency key.

    A mark begins with a word of its kind, so that those of different kinds are never the same.
    """
    found = [*application.claim.marks, b"key " + application.request.key_thumbprint.digest]
    if application.idempotency_key is not None:
        found.append(b"again " + application.idempotency_key.encode())
    return found


def decide(
    authority: Authority, connection: Connection, applications: Sequence[Application], now: datetime
) -> list[Verdict]:
    """Inside the issuing transaction."""
    facts = facts_of.gather(authority, connection, applications, now)
    return [_verdict(authority, facts, application, now) for application in applications]


def _verdict(authority: Authority, facts: Facts, application: Application, now: datetime) -> Verdict:
    try:
        _check_name(facts, application)
        return _earlier(authority, facts, application) or _decision(authority, facts, application, now)
    except Refused as refusal:
        return Denied(refusal, _refusal_entry(authority, facts, application, refusal, now))


def _check_name(facts: Facts, application: Application) -> None:
    """A proof under another's name is refused as one that proves nothing, and stays unspent."""
    subject = application.claim.subject(facts.known)
    if application.named is not None and subject is not None and subject[1] != application.named:
        raise token.refused()


def _earlier(authority: Authority, facts: Facts, application: Application) -> Earlier | None:
    """Whether this is a request made before, by its idempotency key or by a token that was spent on this key."""
    key = application.request.key_thumbprint
    used = idempotency_of(authority, facts.known, application)
    answered = facts.answered.get(used.key) if used else None
    if used and answered:
        if answered.request != used.request:
            raise Refused(
                Reason.IDEMPOTENCY_MISMATCH, "This Idempotency-Key was used with another request; send a new one."
            )
        gone = Refused(Reason.CONFLICT, "The certificate of this Idempotency-Key was revoked; send a new key.")
        return Earlier(answered.serial, key, gone)
    if isinstance(application.claim, ByToken):
        record = facts.known.tokens.get(application.claim.token)
        if record is not None and record.spent_on is not None:
            return Earlier(record.spent_on, key, token.refused())
    return None


def _decision(authority: Authority, facts: Facts, application: Application, now: datetime) -> Decision:
    request, claim, asked = application.request, application.claim, application.asked
    proven = claim.prove(facts.known, request, asked, now)
    if request.key_thumbprint in facts.refused_keys:
        raise keys.not_certifiable()
    grant = ceiling.decide(proven.agent, proven.task, asked, authority.lifetimes, now, proven.bound)
    asking = _asking(authority, claim, proven, grant, now)
    judgement = _judged(authority, asking)
    grant = replace(grant, lifetime=min(grant.lifetime, judgement.lifetime))
    spiffe_id = SpiffeId.agent(authority.names.trust_domain, grant.agent.tenant, grant.agent.id)
    contents = _contents(authority, grant, request, spiffe_id, now)
    csr.check_identity(request, contents.holder.subject, spiffe_id)
    return Decision(
        contents=contents,
        holder=grant.agent.id,
        tenant=grant.agent.tenant,
        task=grant.task.id if grant.task else None,
        actor=_actor(authority, facts, application) or spiffe_id.uri,
        token=proven.token,
        idempotency=idempotency_of(authority, facts.known, application),
        parent=proven.parent,
        line=proven.line,
        alongside=_alongside(authority, facts, application, proven, grant, now),
        detail=_told(asking, judgement) | _evidence(claim),
    )


class _Objection(Refused):
    """What the operator's rules say no to, for the audit log."""

    def __init__(self, asking: Asking, judgement: Judgement) -> None:
        super().__init__(Reason.POLICY_DENIED, "The authority's policy denies this; its operator can say why.")
        self.told = _told(asking, judgement)


def _told(asking: Asking, judgement: Judgement) -> dict[str, Any]:
    """What the rules were asked; and where they object, which of them did, and the seconds that they left."""
    objected = {"policy": list(judgement.by), "lifetime": judgement.lifetime // timedelta(seconds=1)}
    return {"asking": asking.to_json(), **(objected if judgement.by or not judgement.allowed else {})}


def _evidence(claim: Claim) -> dict[str, Any]:
    """Who somebody else said that it is, and by what that one can be asked about it again."""
    if not isinstance(claim, ByAttestation):
        return {}
    attested = claim.attested
    return {"attested": {"issuer": attested.issuer, "subject": attested.subject, **attested.extra}}


def _asking(authority: Authority, claim: Claim, proven: Proven, grant: Grant, now: datetime) -> Asking:
    """What is about to be certified, with the life that it would really have."""
    task = grant.task
    return Asking(
        act=claim.act,
        tenant=grant.agent.tenant,
        agent=grant.agent.id,
        task=task.id if task else None,
        scope=grant.reach.scope,
        resources=grant.reach.resources,
        lifetime=_validity(authority, grant, now).lifetime,
        proof=proven.proof,
        depth=grant.lineage.depth if grant.lineage else 0,
        principal=task.principal if task else None,
        now=now,
    )


def _judged(authority: Authority, asking: Asking) -> Judgement:
    judgement = authority.rules.judge(asking)
    if judgement.failed:
        _log.error("policy-failed", policies=judgement.by)
    if not judgement.allowed:
        raise _Objection(asking, judgement)
    return judgement


def _validity(authority: Authority, grant: Grant, now: datetime) -> Validity:
    return profile.validity(now, grant.lifetime, authority.issuer.certificate.not_valid_after_utc, *grant.ends)


def _alongside(
    authority: Authority, facts: Facts, application: Application, proven: Proven, grant: Grant, now: datetime
) -> Callable[[Connection], None] | None:
    """What is stored with the intent or not at all."""
    narrowed = grant.task is not None and grant.reach.details != grant.task.reach.details
    if not (proven.once or proven.child or narrowed):
        return None
    actor = _actor(authority, facts, application) or ""

    def store(connection: Connection) -> None:
        spent_proofs.spend(connection, proven.once)
        if proven.child is not None:
            record = AgentRecord(proven.child, f"A child of {proven.child.parent}.", now)
            registry.register(connection, record, actor, now)
        if narrowed:
            details.keep(connection, grant.reach.details)

    return store


def _contents(
    authority: Authority, grant: Grant, request: CertificateRequest, spiffe_id: SpiffeId, now: datetime
) -> Contents:
    agent = grant.agent
    validity = _validity(authority, grant, now)
    private: list[AgentTask | AgentDelegation] = []
    if grant.task is not None:
        private.append(tasks_of.extension(grant.task, grant.reach))
    if grant.lineage is not None:
        private.append(_delegation(grant.lineage))
    return Contents(
        kind=Kind.AGENT,
        holder=Holder(
            subject=profile.agent_subject(authority.names.organisation, agent.tenant, agent.id),
            public_key=request.public_key,
            alternative_names=(x509.UniformResourceIdentifier(spiffe_id.uri),),
        ),
        validity=validity,
        private=tuple(private_extension(authority.names.oid_arc, extension) for extension in private),
        crl=None if validity.lifetime <= authority.lifetimes.no_revocation_under else crls.FULL,
    )


def _delegation(lineage: Lineage) -> AgentDelegation:
    return AgentDelegation(lineage.depth, lineage.max_depth, lineage.parent, lineage.root)


def _refusal_entry(
    authority: Authority, facts: Facts, application: Application, refusal: Refused, now: datetime
) -> Entry | None:
    """Refusals are told of only when the proof was real: a stranger cannot fill the log."""
    claim, known = application.claim, facts.known
    subject = claim.subject(known)
    if subject is None:
        return None
    tenant, agent = subject
    return Entry(
        at=now,
        actor=_actor(authority, facts, application) or "",
        action=f"certificate.{claim.act}",
        decision="refused",
        tenant=tenant,
        agent=agent,
        task=claim.task(known, application.asked),
        detail={
            "reason": refusal.reason.value,
            **(refusal.told if isinstance(refusal, _Objection) else {}),
            **_evidence(claim),
        },
    )


def _actor(authority: Authority, facts: Facts, application: Application) -> str | None:
    """Who asked, as the audit log names it."""
    name = application.claim.actor(facts.known)
    return None if name is None else SpiffeId.agent(authority.names.trust_domain, *name).uri
