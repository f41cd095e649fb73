"""What certificates stand on, read from the database as it is now: in a handful of queries, however many are asked for.

Nothing is kept from one question to the next, so an answer is never older than its question.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from cryptography import x509

from ca.authority.authority import Authority
from ca.identifiers import AgentId, Serial, SpiffeId, TaskId, TenantId, Thumbprint
from ca.pki import jwk, profile
from ca.pki.extensions import AgentTask, carried
from ca.pki.profile import Kind
from ca.policy.binding import Standing
from ca.policy.ceiling import Agent, Lineage, Task
from ca.policy.details import NO_DETAILS, Details
from ca.policy.reach import Reach
from ca.policy.scope import Scope
from ca.store import agents, certificates, details, tasks
from ca.store.certificates import CertificateRecord
from ca.store.transaction import Connection


@dataclass(frozen=True, slots=True)
class Subject:
    """An agent's certificate: its row, its names, and what it stands on. `lineage` has the agents above, nearest first."""

    record: CertificateRecord
    tenant: TenantId
    agent: AgentId
    spiffe_id: str
    client_id: str
    subject_dn: str
    lineage: tuple[str, ...]
    standing: Standing


@dataclass(frozen=True, slots=True)
class _Read:
    record: CertificateRecord
    tenant: TenantId
    agent: AgentId
    above: tuple[AgentId, ...]
    task: TaskId | None
    said: AgentTask | None
    lineage: Lineage | None
    key: Thumbprint


def read(authority: Authority, connection: Connection, found: Iterable[CertificateRecord]) -> dict[Thumbprint, Subject]:
    """Those of these certificates that are agents', by the SHA-256 of their DER."""
    known = [_parsed(authority, one) for one in found if one.intent.kind is Kind.AGENT and one.intent.tenant]
    holders = {(one.tenant, name) for one in known for name in (one.agent, *one.above)}
    theirs = agents.named(connection, holders)
    running = tasks.named(connection, {(one.tenant, one.task) for one in known if one.task})
    kept = _details(connection, known, running.values())
    fell = _revoked(connection, {one.record.intent.parent for one in known if _is_revoked_child(one)})
    return {one.record.x5t: _subject(authority, one, theirs, running, kept, fell) for one in known}


def client_id(authority: Authority, tenant: TenantId, agent: AgentId) -> str:
    """The URL that names an agent as an OAuth client: its metadata document is there."""
    return f"{authority.public_url}/clients/{tenant}/{agent}"


def _parsed(authority: Authority, record: CertificateRecord) -> _Read:
    intent = record.intent
    assert intent.tenant is not None
    certificate = x509.load_der_x509_certificate(record.der)
    said, below = carried(record.der, authority.names.oid_arc)
    lineage = None
    if below is not None:
        lineage = Lineage(below.parent, below.root or below.parent, below.depth, below.max_depth)
    agent = AgentId(intent.holder)
    return _Read(
        record=record,
        tenant=intent.tenant,
        agent=agent,
        above=_above(agent, lineage.depth if lineage else 0),
        task=None if intent.task is None else TaskId(intent.task),
        said=said,
        lineage=lineage,
        key=jwk.thumbprint(certificate.public_key()),
    )


def _above(agent: AgentId, depth: int) -> tuple[AgentId, ...]:
    """A child's name begins with its parent's, and behind that there is no further dot."""
    names: list[AgentId] = []
    name: str = agent
    for _ in range(depth):
        name = name.rpartition(".")[0]
        if name:
            names.append(AgentId(name))
    return tuple(names)


def _details(connection: Connection, known: Collection[_Read], running: Iterable[Task]) -> dict[bytes, Details]:
    found = {one.reach.details.digest: one.reach.details for one in running if one.reach.details.digest}
    said = {one.said.details_sha256 for one in known if one.said and one.said.details_sha256}
    return {**found, **details.find(connection, said - found.keys())}


def _is_revoked_child(one: _Read) -> bool:
    return one.record.intent.parent is not None and one.record.revoked_at is not None


def _revoked(connection: Connection, serials: Collection[Serial | None]) -> set[Serial]:
    found = certificates.by_serials(connection, [one for one in serials if one is not None])
    return {serial for serial, record in found.items() if record.revoked_at is not None}


def _subject(
    authority: Authority,
    one: _Read,
    theirs: Mapping[tuple[TenantId, AgentId], Agent],
    running: Mapping[tuple[TenantId, TaskId], Task],
    kept: Mapping[bytes, Details],
    fell: Collection[Serial],
) -> Subject:
    record, names = one.record, authority.names
    spiffe_id = SpiffeId.agent(names.trust_domain, one.tenant, one.agent).uri
    client = client_id(authority, one.tenant, one.agent)
    subject_dn = profile.agent_subject(names.organisation, one.tenant, one.agent).rfc4514_string()
    standing = Standing(
        names=frozenset({client, spiffe_id, subject_dn}),
        jkt=one.key.base64url,
        not_before=record.intent.not_before,
        not_after=record.intent.not_after,
        revoked_at=record.revoked_at,
        held=record.reason == "certificateHold",
        fell_with_its_parent=record.intent.parent in fell,
        agent=theirs.get((one.tenant, one.agent)),
        above=tuple(theirs.get((one.tenant, name)) for name in one.above),
        for_task=one.task is not None,
        task=running.get((one.tenant, one.task)) if one.task else None,
        reach=_reach(one.said, kept),
        lineage=one.lineage,
    )
    above = tuple(SpiffeId.agent(names.trust_domain, one.tenant, name).uri for name in one.above)
    return Subject(record, one.tenant, one.agent, spiffe_id, client, subject_dn, above, standing)


def _reach(said: AgentTask | None, kept: Mapping[bytes, Details]) -> Reach:
    """What the certificate itself says; details that are nowhere any more grant nothing."""
    if said is None:
        return Reach()
    known = NO_DETAILS if said.details_sha256 is None else kept.get(said.details_sha256, NO_DETAILS)
    return Reach(Scope.parse(said.scope), said.resources, known)
