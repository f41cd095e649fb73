"""An agent's first certificate: a one-time token and a CSR to a certificate for its task."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from ca.authority import tasks as tasks_of
from ca.authority.authority import Authority
from ca.authority.issuance import Decision, Denied, Earlier, Idempotency, Issued, Verdict
from ca.identifiers import AgentId, SpiffeId, TaskId, TenantId, Thumbprint
from ca.pki import csr, keys, profile
from ca.pki.certificate import Contents, Holder
from ca.pki.csr import CertificateRequest
from ca.pki.extensions import private_extension
from ca.pki.profile import Kind
from ca.policy import ceiling
from ca.policy.ceiling import Agent, Asked, Grant, Task
from ca.proofs import token
from ca.refusals import Reason, Refused
from ca.store import agents, blocked_keys, crls, idempotency, tasks, tokens
from ca.store.audit import Entry
from ca.store.idempotency import Answered
from ca.store.tokens import TokenRecord
from ca.store.transaction import Connection


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A request whose key is proven: the token's hash, the CSR, what it asked for, and its idempotency key."""

    token: Thumbprint
    request: CertificateRequest
    asked: Asked
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the registry says of a batch of enrolments; nobody changes it before their intents are stored."""

    tokens: Mapping[Thumbprint, TokenRecord]
    agents: Mapping[tuple[TenantId, AgentId], Agent]
    tasks: Mapping[tuple[TenantId, TaskId], Task]
    answered: Mapping[Thumbprint, Answered]
    refused_keys: Collection[Thumbprint]


async def enrol(authority: Authority, enrolment: Enrolment) -> Issued:
    """Issues one certificate for one token.

    A repeated request, by the same token and the same key or by an idempotency key, gets the certificate
    that the first one was answered with: an answer that was lost on the way costs nothing. Raises `Refused`.
    """
    request = enrolment.request
    keys.admit(request.public_key, rsa_allowed=authority.rsa_allowed, known=authority.known_keys)
    claims = [enrolment.token.digest, request.key_thumbprint.digest]
    if enrolment.idempotency_key is not None:
        claims.append(enrolment.idempotency_key.encode())
    return await authority.line.issue(decide, enrolment, claims)


def decide(
    authority: Authority, connection: Connection, enrolments: Sequence[Enrolment], now: datetime
) -> list[Verdict]:
    """Inside the issuing transaction: what was suspended or ended a moment ago is refused."""
    facts = _facts(authority, connection, enrolments, now)
    return [_verdict(authority, facts, enrolment, now) for enrolment in enrolments]


def _facts(authority: Authority, connection: Connection, enrolments: Sequence[Enrolment], now: datetime) -> _Facts:
    known = tokens.find(connection, {enrolment.token for enrolment in enrolments})
    used = [_idempotency(authority, known[one.token], one) for one in enrolments if one.token in known]
    return _Facts(
        tokens=known,
        agents=agents.hold(connection, {(record.tenant, record.agent) for record in known.values()}),
        tasks=tasks.hold(connection, {(record.tenant, record.task) for record in known.values() if record.task}),
        answered=idempotency.find(connection, [one.key for one in used if one is not None], now),
        refused_keys=blocked_keys.refused(
            connection, {one.request.key_thumbprint for one in enrolments if one.token in known}
        ),
    )


def _verdict(authority: Authority, facts: _Facts, enrolment: Enrolment, now: datetime) -> Verdict:
    record = facts.tokens.get(enrolment.token)
    try:
        return _earlier(authority, facts, record, enrolment) or _decision(authority, facts, enrolment, now)
    except Refused as refusal:
        # Refusals are told of only when the token was real: a stranger cannot fill the log.
        return Denied(refusal, None if record is None else _refusal_entry(authority, record, refusal, now))


def _earlier(authority: Authority, facts: _Facts, record: TokenRecord | None, enrolment: Enrolment) -> Earlier | None:
    """Whether this is a request made before, by its idempotency key or by a token that was spent on this key."""
    if record is None:
        return None
    key = enrolment.request.key_thumbprint
    used = _idempotency(authority, record, enrolment)
    answered = facts.answered.get(used.key) if used else None
    if used and answered:
        if answered.request != used.request:
            raise Refused(
                Reason.IDEMPOTENCY_MISMATCH, "This Idempotency-Key was used with another request; send a new one."
            )
        gone = Refused(Reason.CONFLICT, "The certificate of this Idempotency-Key was revoked; send a new key.")
        return Earlier(answered.serial, key, gone)
    return Earlier(record.spent_on, key, token.refused()) if record.spent_on is not None else None


def _idempotency(authority: Authority, record: TokenRecord, enrolment: Enrolment) -> Idempotency | None:
    """An idempotency key is the agent's own: of two agents that send the same one, neither learns of the other."""
    if enrolment.idempotency_key is None:
        return None
    holder, asked = _spiffe_id(authority, record.tenant, record.agent), enrolment.asked
    wanted = f"{enrolment.request.key_thumbprint} {record.task} {asked.task} {asked.scope} {asked.not_after}"
    return Idempotency(
        key=Thumbprint.of(f"{holder} {enrolment.idempotency_key}".encode()), request=Thumbprint.of(wanted.encode())
    )


def _decision(authority: Authority, facts: _Facts, enrolment: Enrolment, now: datetime) -> Decision:
    request, record = enrolment.request, facts.tokens.get(enrolment.token)
    proven = token.prove(record, request.key_thumbprint, now)
    agent = facts.agents.get((proven.tenant, proven.agent))
    task = facts.tasks.get((proven.tenant, proven.task)) if proven.task else None
    if record is None or agent is None or (proven.task and task is None):
        raise token.refused()
    if request.key_thumbprint in facts.refused_keys:
        raise keys.not_certifiable()
    grant = ceiling.decide(agent, task, enrolment.asked, authority.lifetimes, now)
    spiffe_id = _spiffe_id(authority, agent.tenant, agent.id)
    contents = _contents(authority, grant, request, spiffe_id, now)
    csr.check_identity(request, contents.holder.subject, spiffe_id)
    return Decision(
        contents=contents,
        holder=agent.id,
        tenant=agent.tenant,
        task=task.id if task else None,
        actor=spiffe_id.uri,
        token=proven.token,
        idempotency=_idempotency(authority, record, enrolment),
        detail={"proof": "enrollment-token", "scope": str(grant.scope)},
    )


def _contents(
    authority: Authority, grant: Grant, request: CertificateRequest, spiffe_id: SpiffeId, now: datetime
) -> Contents:
    agent = grant.agent
    validity = profile.validity(now, grant.lifetime, authority.issuer.certificate.not_valid_after_utc, *grant.ends)
    private = [tasks_of.extension(grant.task, grant.scope)] if grant.task is not None else []
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


def _spiffe_id(authority: Authority, tenant: TenantId, agent: AgentId) -> SpiffeId:
    return SpiffeId.agent(authority.names.trust_domain, tenant, agent)


def _refusal_entry(authority: Authority, record: TokenRecord, refusal: Refused, now: datetime) -> Entry:
    return Entry(
        at=now,
        actor=_spiffe_id(authority, record.tenant, record.agent).uri,
        action="certificate.enrol",
        decision="refused",
        tenant=record.tenant,
        agent=record.agent,
        task=record.task,
        detail={"reason": refusal.reason.value},
    )
