"""What a batch of applications is decided on, read so that nobody can change it before the intents are stored.

The locks come in the order that is everybody's: revocations, where a certificate is shown; then agents, tasks, keys.
What can still change before its lock is had is read again under it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ca.authority.authority import Authority
from ca.authority.claims import (
    AgentName,
    Application,
    ByAttestation,
    ByToken,
    Known,
)
from ca.authority.issuance import Idempotency
from ca.identifiers import AgentId, SpiffeId, Thumbprint
from ca.pki.extensions import carried
from ca.policy.ceiling import Task
from ca.policy.details import Details
from ca.store import (
    agents,
    blocked_keys,
    certificates,
    details,
    idempotency,
    spent_proofs,
    stillness,
    tasks,
    tokens,
)
from ca.store.certificates import CertificateRecord
from ca.store.idempotency import Answered
from ca.store.stillness import Stillness
from ca.store.transaction import Connection


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a batch is decided on."""

    known: Known
    answered: Mapping[Thumbprint, Answered]
    refused_keys: Collection[Thumbprint]


def gather(authority: Authority, connection: Connection, applications: Sequence[Application], now: datetime) -> Facts:
    """Reads and locks."""
    shown = _shown(authority, connection, applications, now)
    subjects = {id(one): name for one in applications if (name := one.claim.subject(shown)) is not None}
    real = [one for one in applications if id(one) in subjects]
    wanted = {(subjects[id(one)][0], task) for one in real if (task := one.claim.task(shown, one.asked))}
    records = [*shown.certificates.values(), *shown.newest.values()]
    held = agents.hold(connection, {*subjects.values(), *_holders(records)})
    running = tasks.hold(connection, wanted)
    refused = blocked_keys.refused(connection, {one.request.key_thumbprint for one in real})
    known = replace(
        shown,
        # Whoever took an identity from one agent for another had to change both.
        identities=agents.by_identity(connection, shown.identities),
        agents=held,
        tasks=running,
        details=_details(shown.arc, connection, records, running.values()),
    )
    used = [one for application in real if (one := idempotency_of(authority, known, application))]
    return Facts(known, idempotency.find(connection, [one.key for one in used], now), refused)


def idempotency_of(authority: Authority, known: Known, application: Application) -> Idempotency | None:
    """An idempotency key is its sender's own: of two agents that send the same one, neither learns of the other."""
    claim, asked = application.claim, application.asked
    actor, key = claim.actor(known), application.idempotency_key
    if actor is None or key is None:
        return None
    holder = SpiffeId.agent(authority.names.trust_domain, *actor)
    wanted = f"{claim.wanted} {application.request.key_thumbprint} {claim.task(known, asked)} {asked.spelled}"
    return Idempotency(key=Thumbprint.of(f"{holder} {key}".encode()), request=Thumbprint.of(wanted.encode()))


def _shown(authority: Authority, connection: Connection, applications: Sequence[Application], now: datetime) -> Known:
    """Who they are, by what they show; and, by what delegated to it, who stands above."""
    claims = [one.claim for one in applications]
    by_token = {claim.token for claim in claims if isinstance(claim, ByToken)}
    attested = [claim for claim in claims if isinstance(claim, ByAttestation)]
    by_certificate = {claim.shown for claim in claims if claim.shown is not None}
    if by_certificate:
        stillness.take(connection, [Stillness.REVOKING])
    found = certificates.by_thumbprints(connection, by_certificate)
    parents = {record.intent.parent for record in found.values() if record.intent.parent}
    return Known(
        arc=authority.names.oid_arc,
        tokens=tokens.find(connection, by_token) if by_token else {},
        identities=agents.by_identity(connection, {claim.identity for claim in attested}),
        spent=spent_proofs.spent(connection, {one for claim in attested if (one := claim.attested.once)}),
        certificates=found,
        newest={one: live for one in parents if (live := certificates.newest_of_line(connection, one, now))},
    )


def _details(
    arc: str, connection: Connection, records: Iterable[CertificateRecord], running: Iterable[Task]
) -> dict[bytes, Details]:
    """By their digests, those that these certificates carry."""
    found = {one.reach.details.digest: one.reach.details for one in running if one.reach.details.digest}
    said = {task.details_sha256 for record in records if (task := carried(record.der, arc)[0])}
    return {**found, **details.find(connection, {digest for digest in said if digest} - found.keys())}


def _holders(records: Iterable[CertificateRecord]) -> list[AgentName]:
    return [(one.intent.tenant, AgentId(one.intent.holder)) for one in records if one.intent.tenant]
