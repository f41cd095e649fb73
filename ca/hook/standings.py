"""What certificates stand on, read from the database as it is now: in a handful of queries, however many are asked for.

Nothing is kept from one question to the next, so an answer is never older than its question.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509

from ca.authority.authority import Authority
from ca.authority.said import said
from ca.identifiers import AgentId, Serial, SpiffeId, TaskId, TenantId, Thumbprint
from ca.pki import jwk, profile
from ca.pki.extensions import carried
from ca.pki.profile import Kind
from ca.policy.binding import Standing
from ca.policy.ceiling import Agent, Task
from ca.policy.details import Details
from ca.store import agents, certificates, details, tasks
from ca.store.certificates import CertificateRecord
from ca.store.filters import HOLD
from ca.store.transaction import Connection

_Agents = Mapping[tuple[TenantId, AgentId], Agent]
_Tasks = Mapping[tuple[TenantId, TaskId], Task]


@dataclass(frozen=True, slots=True)
class Subject:
    """An agent's certificate: its row, its names, what it stands on. `above` names who delegated, the nearest first."""

    record: CertificateRecord
    tenant: TenantId
    agent: AgentId
    spiffe_id: str
    client_id: str
    subject_dn: str
    above: tuple[str, ...]
    standing: Standing


@dataclass(frozen=True, slots=True)
class _Named:
    """A row, and what it names."""

    record: CertificateRecord
    tenant: TenantId
    agent: AgentId
    above: tuple[AgentId, ...]
    task: TaskId | None
    details: bytes | None


def read(
    authority: Authority, connection: Connection, records: Iterable[CertificateRecord]
) -> dict[Thumbprint, Subject]:
    """Those of these certificates that are agents', by the SHA-256 of their DER."""
    known = [one for record in records if (one := _named(record, authority.names.oid_arc)) is not None]
    theirs = agents.named(connection, {(one.tenant, name) for one in known for name in (one.agent, *one.above)})
    running = tasks.named(connection, {(one.tenant, one.task) for one in known if one.task})
    kept = _details(connection, known, running.values())
    fell = _revoked(connection, {one.record.intent.parent for one in known if one.record.revoked_at})
    return {one.record.x5t: _subject(authority, one, theirs, running, kept, fell) for one in known}


def client_id(authority: Authority, tenant: TenantId, agent: AgentId) -> str:
    """The URL that names an agent as an OAuth client."""
    return f"{authority.public_url}/clients/{tenant}/{agent}"


def _named(record: CertificateRecord, arc: str) -> _Named | None:
    intent = record.intent
    if intent.kind is not Kind.AGENT or intent.tenant is None:
        return None
    task, below = carried(record.der, arc)
    agent = AgentId(intent.holder)
    return _Named(
        record=record,
        tenant=intent.tenant,
        agent=agent,
        above=_above(agent, below.depth if below else 0),
        task=None if intent.task is None else TaskId(intent.task),
        details=task.details_sha256 if task else None,
    )


def _above(agent: AgentId, depth: int) -> tuple[AgentId, ...]:
    """A child's name is its parent's, a dot, and something without a dot."""
    parts = agent.split(".")
    return tuple(AgentId(".".join(parts[:-up])) for up in range(1, min(depth, len(parts) - 1) + 1))


def _details(connection: Connection, known: Collection[_Named], running: Iterable[Task]) -> dict[bytes, Details]:
    found = {one.reach.details.digest: one.reach.details for one in running if one.reach.details.digest}
    return {**found, **details.find(connection, {one.details for one in known if one.details} - found.keys())}


def _revoked(connection: Connection, serials: Collection[Serial | None]) -> set[Serial]:
    found = certificates.by_serials(connection, [one for one in serials if one is not None])
    return {serial for serial, record in found.items() if record.revoked_at is not None}


@lru_cache(maxsize=16384)
def _jkt(der: bytes) -> str:
    return jwk.thumbprint(x509.load_der_x509_certificate(der).public_key()).base64url


def _subject(
    authority: Authority,
    one: _Named,
    theirs: _Agents,
    running: _Tasks,
    kept: Mapping[bytes, Details],
    fell: set[Serial],
) -> Subject:
    record, names = one.record, authority.names
    spiffe_id, *above = (SpiffeId.agent(names.trust_domain, one.tenant, name).uri for name in (one.agent, *one.above))
    client = client_id(authority, one.tenant, one.agent)
    subject_dn = profile.agent_dn(names.organisation, one.tenant, one.agent)
    reach, lineage = said(record.der, names.oid_arc, kept)
    standing = Standing(
        names=frozenset({client, spiffe_id, subject_dn}),
        jkt=_jkt(record.der),
        not_before=record.intent.not_before,
        not_after=record.intent.not_after,
        revoked_at=record.revoked_at,
        held=record.reason == HOLD,
        fell_with_its_parent=record.intent.parent in fell,
        agent=theirs.get((one.tenant, one.agent)),
        above=tuple(theirs.get((one.tenant, name)) for name in one.above),
        for_task=one.task is not None,
        task=running.get((one.tenant, one.task)) if one.task else None,
        reach=reach,
        lineage=lineage,
    )
    return Subject(record, one.tenant, one.agent, spiffe_id, client, subject_dn, tuple(above), standing)
