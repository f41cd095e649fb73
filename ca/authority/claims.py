"""By what right somebody asks for a certificate: one class a kind, from what the database says to a `Proven`.

A claim names what must be looked up; once it has been, and nobody can change it before the intent is stored,
it is proven or refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from ca.authority.said import said
from ca.identifiers import AgentId, Serial, TaskId, TenantId, Thumbprint
from ca.pki.csr import CertificateRequest
from ca.pki.profile import Kind
from ca.policy import delegation
from ca.policy.ceiling import UNBOUND, Agent, Asked, Bound, Task
from ca.policy.delegation import Parent
from ca.policy.details import Details
from ca.proofs import token
from ca.proofs.providers import Attested
from ca.refusals import Reason, Refused
from ca.store.agents import Identity
from ca.store.certificates import CertificateRecord
from ca.store.tokens import TokenRecord

AgentName = tuple[TenantId, AgentId]
TaskName = tuple[TenantId, TaskId]


@dataclass(frozen=True, slots=True)
class Known:
    """What the database says of a batch. `newest` has, by the serial of a parent, the live one of its line."""

    arc: str
    tokens: Mapping[Thumbprint, TokenRecord] = field(default_factory=dict)
    identities: Mapping[Identity, AgentName] = field(default_factory=dict)
    spent: Collection[Thumbprint] = ()
    certificates: Mapping[Thumbprint, CertificateRecord] = field(default_factory=dict)
    newest: Mapping[Serial, CertificateRecord] = field(default_factory=dict)
    agents: Mapping[AgentName, Agent] = field(default_factory=dict)
    tasks: Mapping[TaskName, Task] = field(default_factory=dict)
    details: Mapping[bytes, Details] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Proven:
    """Who asks, for which task, by which proof, and what that proof allows at most.

    `token` and `once` are spent on the certificate; `child` is an agent that is registered with it.
    """

    agent: Agent
    task: Task | None
    proof: str
    bound: Bound = UNBOUND
    token: Thumbprint | None = None
    once: Mapping[Thumbprint, datetime] = field(default_factory=dict)
    parent: Serial | None = None
    line: Serial | None = None
    child: Agent | None = None


class Claim(Protocol):
    """One kind of right."""

    @property
    def act(self) -> str:
        """What is done by it: enrol, renew or delegate."""

    @property
    def wanted(self) -> str:
        """What of the claim itself makes a request another one."""

    @property
    def marks(self) -> tuple[bytes, ...]:
        """What it shares with another claim of which only one can be granted at a time; each kind has its word."""

    @property
    def shown(self) -> Thumbprint | None:
        """The certificate that it stands on, if it does."""

    def subject(self, known: Known) -> AgentName | None:
        """Who would be certified; None for a stranger, of whom nothing is noted."""

    def actor(self, known: Known) -> AgentName | None:
        """Who asks; mostly for itself."""

    def task(self, known: Known, asked: Asked) -> TaskId | None:
        """For which task, in the subject's tenant."""

    def prove(self, known: Known, request: CertificateRequest, asked: Asked, now: datetime) -> Proven:
        """Raises `Refused`."""


@dataclass(frozen=True, slots=True)
class Application:
    """Somebody asks for a certificate: by what right, for which proven key, for how much, and under which key again.

    `named` is the agent that a user's name beside the proof says it is for.
    """

    claim: Claim
    request: CertificateRequest
    asked: Asked
    idempotency_key: str | None = None
    named: AgentId | None = None


@dataclass(frozen=True, slots=True)
class ByToken:
    """A one-time enrolment token, by its hash."""

    token: Thumbprint
    act = wanted = "enrol"
    shown = None

    @property
    def marks(self) -> tuple[bytes, ...]:
        return (b"token " + self.token.digest,)

    def subject(self, known: Known) -> AgentName | None:
        record = known.tokens.get(self.token)
        return None if record is None else (record.tenant, record.agent)

    def actor(self, known: Known) -> AgentName | None:
        return self.subject(known)

    def task(self, known: Known, _asked: Asked) -> TaskId | None:
        record = known.tokens.get(self.token)
        return None if record is None else record.task

    def prove(self, known: Known, request: CertificateRequest, _asked: Asked, now: datetime) -> Proven:
        record = token.check(known.tokens.get(self.token), request.key_thumbprint, now)
        agent = known.agents.get((record.tenant, record.agent))
        task = known.tasks.get((record.tenant, record.task)) if record.task else None
        if agent is None or agent.parent or (record.task and task is None):
            raise token.refused()
        return Proven(agent, task, "token", token=record.hash)


@dataclass(frozen=True, slots=True)
class ByAttestation:
    """What a provider of identity attested: an issuer's subject, who is an agent by exact comparison."""

    attested: Attested
    act = wanted = "enrol"
    shown = None

    @property
    def marks(self) -> tuple[bytes, ...]:
        return () if self.attested.once is None else (b"proof " + self.attested.once.digest,)

    @property
    def identity(self) -> Identity:
        """As the registry has it."""
        return Identity(self.attested.issuer, self.attested.subject)

    def subject(self, known: Known) -> AgentName | None:
        return known.identities.get(self.identity)

    def actor(self, known: Known) -> AgentName | None:
        return self.subject(known)

    def task(self, _known: Known, asked: Asked) -> TaskId | None:
        return asked.task

    def prove(self, known: Known, request: CertificateRequest, asked: Asked, now: datetime) -> Proven:
        attested, subject = self.attested, self.subject(known)
        agent = None if subject is None else known.agents.get(subject)
        if agent is None or agent.parent or attested.expires <= now or attested.once in known.spent:
            raise token.refused()
        if attested.key is not None and attested.key != request.key_thumbprint:
            raise token.refused()
        once = {} if attested.once is None else {attested.once: attested.expires}
        return Proven(agent, _own_task(known, agent, asked), attested.provider, once=once)


@dataclass(frozen=True, slots=True)
class _Shown:
    """A live certificate of this authority, by which its agent asks."""

    shown: Thumbprint

    @property
    def marks(self) -> tuple[bytes, ...]:
        return ()

    def subject(self, known: Known) -> AgentName | None:
        return _holder(known, self.shown)

    def actor(self, known: Known) -> AgentName | None:
        return _holder(known, self.shown)

    def task(self, known: Known, _asked: Asked) -> TaskId | None:
        return _task_of(known, self.shown)


@dataclass(frozen=True, slots=True)
class ByCertificate(_Shown):
    """One without a task may take up any of its agent's, another keeps it."""

    act = wanted = "enrol"

    def task(self, known: Known, asked: Asked) -> TaskId | None:
        return _task_of(known, self.shown) or asked.task

    def prove(self, known: Known, _request: CertificateRequest, asked: Asked, now: datetime) -> Proven:
        proven = _standing(known, self.shown, now)
        return proven if proven.task else replace(proven, task=_own_task(known, proven.agent, asked))


@dataclass(frozen=True, slots=True)
class Renewal(_Shown):
    """One that is to be followed by another of the same identity and task."""

    act = wanted = "renew"

    def prove(self, known: Known, _request: CertificateRequest, _asked: Asked, now: datetime) -> Proven:
        intent = _live(known, self.shown, now).intent
        return replace(_standing(known, self.shown, now), line=intent.line or intent.serial)


@dataclass(frozen=True, slots=True)
class Delegation(_Shown):
    """One whose agent has a child certified, under a name that it gives or one of these octets."""

    child: AgentId | None
    random: bytes
    act = "delegate"

    @property
    def wanted(self) -> str:
        return f"delegate {self.child}"

    @property
    def marks(self) -> tuple[bytes, ...]:
        return (b"child " + str(self.child).encode() if self.child else b"nameless " + self.random,)

    def subject(self, known: Known) -> AgentName | None:
        parent = _holder(known, self.shown)
        name = parent and self._name(parent[1])
        return (parent[0], name) if parent and name else None

    def prove(self, known: Known, _request: CertificateRequest, asked: Asked, now: datetime) -> Proven:
        record, standing = _live(known, self.shown, now), _standing(known, self.shown, now)
        bound = delegation.bound(_parent(known, record, standing.agent), asked)
        child = delegation.child(standing.agent, self._name(standing.agent.id))
        there = known.agents.get((child.tenant, child.id))
        if there is not None:
            delegation.check_child(standing.agent, there)
        return Proven(
            agent=there or child,
            task=standing.task,
            proof="delegation",
            bound=bound,
            parent=record.intent.serial,
            child=None if there else child,
        )

    def _name(self, parent: AgentId) -> AgentId | None:
        return self.child or delegation.name(parent, self.random)


def _own_task(known: Known, agent: Agent, asked: Asked) -> Task | None:
    """The task that was asked for, if it is this agent's; whether another's exists is not told."""
    if asked.task is None:
        return None
    task = known.tasks.get((agent.tenant, asked.task))
    if task is None or task.agent != agent.id:
        raise Refused(Reason.FORBIDDEN, "This agent has no such task.")
    return task


def _holder(known: Known, x5t: Thumbprint) -> AgentName | None:
    record = known.certificates.get(x5t)
    if record is None or record.intent.kind is not Kind.AGENT or record.intent.tenant is None:
        return None
    return record.intent.tenant, AgentId(record.intent.holder)


def _task_of(known: Known, x5t: Thumbprint) -> TaskId | None:
    record = known.certificates.get(x5t)
    return None if record is None or record.intent.task is None else TaskId(record.intent.task)


def _live(known: Known, x5t: Thumbprint, now: datetime) -> CertificateRecord:
    record = known.certificates.get(x5t)
    if record is None or record.intent.kind is not Kind.AGENT or record.state(now) != "live":
        raise Refused(Reason.UNAUTHENTICATED, "The client certificate is not a live one of an agent of this authority.")
    return record


def _standing(known: Known, x5t: Thumbprint, now: datetime) -> Proven:
    """Whose certificate it is, and no more than it says; a child's ends with its parent."""
    record = _live(known, x5t, now)
    holder, task = _holder(known, x5t), _task_of(known, x5t)
    agent = known.agents.get(holder) if holder else None
    if holder is None or agent is None or (task and (holder[0], task) not in known.tasks):
        raise Refused(Reason.UNAUTHENTICATED, "The client certificate names an agent or a task that is gone.")
    reach, lineage = said(record.der, known.arc, known.details)
    found = known.tasks[holder[0], task] if task else None
    bound = Bound(reach if task else None)
    if record.intent.parent is None:
        return Proven(agent, found, "certificate", bound)
    parent = known.newest.get(record.intent.parent)
    of_parent = None if parent is None or parent.intent.tenant is None else _agent_of(known, parent)
    # Without a lineage that can be read, as after a change of the arc, nobody knows how deep it stands.
    if lineage is None or parent is None or of_parent is None:
        raise Refused(Reason.DELEGATION_ENDED, "The certificate that delegated to this one is gone.")
    above = delegation.bound(_parent(known, parent, of_parent), Asked())
    deepest = above.lineage.max_depth if above.lineage else lineage.depth
    bound = Bound(
        reach.intersection(above.reach) if task and above.reach else None,
        above.ends,
        replace(lineage, parent=parent.x5t, max_depth=min(lineage.max_depth, deepest)),
    )
    return Proven(agent, found, "certificate", bound, parent=parent.intent.serial)


def _agent_of(known: Known, record: CertificateRecord) -> Agent | None:
    tenant = record.intent.tenant
    return None if tenant is None else known.agents.get((tenant, AgentId(record.intent.holder)))


def _parent(known: Known, record: CertificateRecord, agent: Agent) -> Parent:
    reach, lineage = said(record.der, known.arc, known.details)
    return Parent(agent, record.x5t, reach, record.intent.not_after, lineage)
