"""An agent's first certificate: a one-time token and a CSR to a certificate for its task."""

from __future__ import annotations

from asyncio import wrap_future
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from ca.authority import tasks as tasks_of
from ca.authority.authority import Authority
from ca.authority.issuance import Decision, Issued, finish, issue
from ca.identifiers import SpiffeId, Thumbprint
from ca.pki import csr, keys, profile
from ca.pki.certificate import Contents, Holder
from ca.pki.csr import CertificateRequest
from ca.pki.extensions import private_extension
from ca.pki.profile import Kind
from ca.policy import ceiling
from ca.policy.ceiling import Asked, Grant, Task
from ca.proofs import token
from ca.proofs.token import Proven
from ca.refusals import Reason, Refused
from ca.store import agents, audit, certificates, tasks, tokens
from ca.store.audit import Entry
from ca.store.transaction import Connection


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A request whose key is proven: the token's hash, the CSR, and what it asked for."""

    token: Thumbprint
    request: CertificateRequest
    asked: Asked


async def enrol(authority: Authority, enrolment: Enrolment) -> Issued:
    """Issues one certificate for one token.

    A repeated request with the same token and the same key gets the certificate that the first
    one was spent on: an answer that was lost on the way costs nothing. Raises `Refused`.
    """
    keys.admit(enrolment.request.public_key, rsa_allowed=authority.rsa_allowed)
    try:
        return await issue(authority, lambda connection, now: _decide(authority, connection, enrolment, now))
    except Refused as refusal:
        earlier = await _repeated(authority, enrolment) if refusal.reason is Reason.TOKEN_INVALID else None
        if earlier is None:
            await _audit_refusal(authority, enrolment, refusal)
            raise
        return earlier


def _decide(authority: Authority, connection: Connection, enrolment: Enrolment, now: datetime) -> Decision:
    """Inside the issuing transaction: what was suspended or ended a moment ago is refused."""
    request = enrolment.request
    proven = token.prove(connection, enrolment.token, request.key_thumbprint, now)
    grant = ceiling.decide(*_facts(connection, proven), enrolment.asked, authority.lifetimes, now)
    contents = _contents(authority, grant, request, now)
    csr.check_identity(request, contents.holder.subject, _spiffe_id(authority, grant))
    return Decision(
        contents=contents,
        holder=grant.agent.id,
        tenant=grant.agent.tenant,
        task=grant.task.id if grant.task else None,
        actor=_spiffe_id(authority, grant).uri,
        spend=lambda inner, serial: token.spend(inner, proven, serial, now),
        detail={"proof": "enrollment-token", "scope": str(grant.scope)},
    )


def _facts(connection: Connection, proven: Proven) -> tuple[ceiling.Agent, Task | None]:
    agent = agents.find(connection, proven.tenant, proven.agent)
    task = tasks.find(connection, proven.tenant, proven.task) if proven.task else None
    if agent is None or (proven.task and task is None):
        raise token.refused()
    return agent.agent, task.task if task else None


def _contents(authority: Authority, grant: Grant, request: CertificateRequest, now: datetime) -> Contents:
    agent = grant.agent
    private = [tasks_of.extension(grant.task, grant.scope)] if grant.task is not None else []
    return Contents(
        kind=Kind.AGENT,
        holder=Holder(
            subject=profile.agent_subject(authority.names.organisation, agent.tenant, agent.id),
            public_key=request.public_key,
            alternative_names=(x509.UniformResourceIdentifier(_spiffe_id(authority, grant).uri),),
        ),
        validity=profile.validity(now, grant.lifetime, authority.issuer.certificate.not_valid_after_utc, *grant.ends),
        private=tuple(private_extension(authority.names.oid_arc, extension) for extension in private),
    )


def _spiffe_id(authority: Authority, grant: Grant) -> SpiffeId:
    return SpiffeId.agent(authority.names.trust_domain, grant.agent.tenant, grant.agent.id)


async def _repeated(authority: Authority, enrolment: Enrolment) -> Issued | None:
    """The certificate that this token was spent on, if it was this key's and still stands.

    One that a fault of the signer left unfinished is finished now.
    """
    now = authority.clock()
    with authority.database.read() as connection:
        spent = tokens.find(connection, enrolment.token)
        standing = certificates.standing(connection, spent.spent_on) if spent and spent.spent_on else None
        record = certificates.by_serial(connection, standing.intent.serial) if standing else None
    if standing is None or standing.state(now) != "live" or standing.intent.key != enrolment.request.key_thumbprint:
        return None
    return await finish(authority, standing.intent) if record is None else Issued(record.intent, record.der)


async def _audit_refusal(authority: Authority, enrolment: Enrolment, refusal: Refused) -> None:
    """Refusals are told of only when the token was real: a stranger cannot fill the log."""
    now = authority.clock()
    with authority.database.read() as connection:
        known = tokens.find(connection, enrolment.token)
    if known is None:
        return
    entry = Entry(
        at=now,
        actor=SpiffeId.agent(authority.names.trust_domain, known.tenant, known.agent).uri,
        action="certificate.enrol",
        decision="refused",
        tenant=known.tenant,
        agent=known.agent,
        task=known.task,
        detail={"reason": refusal.reason.value},
    )
    await wrap_future(authority.database.write(lambda inner: audit.append(inner, entry)))
