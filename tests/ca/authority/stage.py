"""An authority over keys in memory and a real SQLite file, with a clock that a test moves."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from ca.authority import agents, desk, hierarchy, revoke, tasks, tokens
from ca.authority.authority import Authority, Names
from ca.authority.claims import Application, ByToken, Claim, Delegation, Renewal
from ca.authority.hierarchy import Foundation
from ca.authority.issuance import Issued
from ca.authority.publisher import Publisher
from ca.authority.tasks import Opening
from ca.hsm import TokenFault
from ca.identifiers import AgentId, TaskId, TenantId, Thumbprint, TrustDomain
from ca.pki import csr, keys
from ca.pki.csr import CertificateRequest
from ca.pki.keys import PublicKey
from ca.policy.ceiling import Agent, AgentState, Asked, Lifetimes
from ca.policy.details import Details
from ca.policy.reach import Reach
from ca.policy.scope import Scope
from ca.proofs import token as proof
from ca.refusals import Reason, Refused
from ca.store import audit, certificates, crls, schema
from ca.store.agents import Identity
from ca.store.audit import Entry
from ca.store.certificates import CertificateRecord, Intent, State
from ca.store.crls import PublishedCrl
from ca.store.filters import Filter
from ca.store.status import CertificateStatus, StatusReader
from ca.store.tasks import TaskRecord
from ca.store.transaction import Database
from tests.memory_signer import MemorySigner

_T = TypeVar("_T")

START = datetime(2031, 5, 6, 7, 8, 9, 250_000, tzinfo=UTC)
NAMES = Names(TrustDomain("agents.example"), "Remit", "1.3.6.1.4.1.32473.1")
TENANT, AGENT, TASK = TenantId("acme"), AgentId("bot"), TaskId("invoices")
STATUS_URL = "http://status.example"
Key = ec.EllipticCurvePrivateKey


class Faulty(MemorySigner):
    """A signer whose next answers a test can replace."""

    def __init__(self) -> None:
        super().__init__()
        self.instead: Callable[[PublicKey, Sequence[bytes]], Future[list[bytes]]] | None = None

    def sign(self, public_key: PublicKey, messages: Sequence[bytes]) -> Future[list[bytes]]:
        return self.instead(public_key, messages) if self.instead else super().sign(public_key, messages)


@dataclass
class Clock:
    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **apart: float) -> None:
        self.now += timedelta(**apart)


def run(work: Coroutine[Any, Any, _T]) -> _T:
    return asyncio.run(work)


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def request(key: Key, *sans: x509.GeneralName, subject: x509.Name | None = None) -> CertificateRequest:
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject or x509.Name([]))
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
    return csr.parse(builder.sign(key, SHA256()).public_bytes(Encoding.DER))


def failing(sentence: str = "The token is gone.") -> Callable[[PublicKey, Sequence[bytes]], Future[list[bytes]]]:
    def sign(_key: PublicKey, _messages: Sequence[bytes]) -> Future[list[bytes]]:
        future: Future[list[bytes]] = Future()
        future.set_exception(TokenFault(sentence))
        return future

    return sign


def answering(*signatures: bytes) -> Callable[[PublicKey, Sequence[bytes]], Future[list[bytes]]]:
    def sign(_key: PublicKey, _messages: Sequence[bytes]) -> Future[list[bytes]]:
        future: Future[list[bytes]] = Future()
        future.set_result(list(signatures))
        return future

    return sign


class Stage:
    """Everything that an act needs, and short words for the acts that tests begin with."""

    def __init__(self, directory: Path, url: str = "") -> None:
        self.url = url or f"sqlite:///{directory / 'remit.db'}"
        schema.upgrade(self.url)
        self.database, self.signer, self.clock = Database(self.url), Faulty(), Clock()
        foundation = Foundation(self.database, self.signer, NAMES, STATUS_URL, self.clock, os.urandom)
        root_key, issuing_key = self.signer.generate("root-1"), self.signer.generate("issuing-1")
        self.root, self.issuer = hierarchy.establish(foundation, root_key, issuing_key)
        self.foundation = foundation
        self.signer.signed.clear()
        self.authority = self.over(self.database)

    def over(self, database: Database, **changes: Any) -> Authority:
        """The authority over this database: another one is another replica."""
        made = Authority(
            database=database,
            signer=self.signer,
            root=self.root,
            issuer=self.issuer,
            names=NAMES,
            lifetimes=Lifetimes(timedelta(minutes=15), timedelta(minutes=1), timedelta(minutes=60)),
            crl_lifetime=timedelta(hours=1),
            crl_shards=1,
            public_url="https://ca.example",
            status_url=STATUS_URL,
            rsa_allowed=False,
            clock=self.clock,
            random=os.urandom,
        )
        return replace(made, **changes)

    def close(self) -> None:
        self.authority.close()
        self.database.close()

    # Acts.

    def agent(
        self,
        name: str = AGENT,
        scope: str = "read write",
        tenant: str = TENANT,
        max_depth: int = 0,
        identity: Identity | None = None,
    ) -> Agent:
        made = Agent(TenantId(tenant), AgentId(name), AgentState.ACTIVE, Scope.parse(scope), None, max_depth)
        return agents.add(self.authority, made, "", "ops", identity).agent

    def task(
        self,
        name: str = TASK,
        agent: str = AGENT,
        scope: str = "read",
        resources: tuple[str, ...] = (),
        details: Sequence[dict[str, Any]] = (),
        **changes: Any,
    ) -> TaskRecord:
        opening = Opening(
            tenant=TENANT,
            agent=AgentId(agent),
            id=TaskId(name),
            reach=Reach(Scope.parse(scope), resources, Details.of(details)),
            deadline=None,
            principal=None,
        )
        return tasks.open_task(self.authority, replace(opening, **changes), "ops")

    def token(self, agent: str = AGENT, task: str | None = TASK, key: Thumbprint | None = None) -> Thumbprint:
        text, _ = tokens.create(
            self.authority,
            tenant=TENANT,
            agent=AgentId(agent),
            task=TaskId(task) if task else None,
            key=key,
            lifetime=timedelta(minutes=5),
            actor="ops",
        )
        return proof.hash_of(text)

    def enrol(self, token: Thumbprint, key: Key | None = None, asked: Asked = Asked()) -> Issued:  # noqa: B008 (frozen)
        return run(desk.apply(self.authority, Application(ByToken(token), request(key or new_key()), asked)))

    def refused(self, token: Thumbprint, key: Key | None = None, asked: Asked = Asked()) -> Reason:  # noqa: B008 (frozen)
        """Why this is not certified."""
        with pytest.raises(Refused) as caught:
            self.enrol(token, key, asked)
        return caught.value.reason

    def apply(self, claim: Claim, key: Key | None = None, asked: Asked = Asked(), again: str | None = None) -> Issued:  # noqa: B008 (frozen)
        return run(desk.apply(self.authority, Application(claim, request(key or new_key()), asked, again)))

    def renew(self, issued: Issued, key: Key | None = None, asked: Asked = Asked()) -> Issued:  # noqa: B008 (frozen)
        return self.apply(Renewal(issued.x5t), key, asked)

    def delegate(self, parent: Issued, child: str | None = None, asked: Asked = Asked()) -> Issued:  # noqa: B008 (frozen)
        name = None if child is None else AgentId(child)
        return self.apply(Delegation(parent.x5t, name, os.urandom(5)), asked=asked)

    def enrolled(self, agent: str = AGENT, task: str | None = TASK) -> Issued:
        """A certificate for an agent and a task that are there."""
        return self.enrol(self.token(agent, task))

    def revoke(self, issued: Issued) -> None:
        revoke.revoke_serial(self.authority, issued.intent.serial, x509.ReasonFlags.unspecified, "ops")

    def block(self, key: Key) -> None:
        """The key is compromised, wherever it was found."""
        wanted = Filter(key=keys.thumbprint(key.public_key()))
        revoke.revoke_many(self.authority, wanted, x509.ReasonFlags.key_compromise, "ops", dry_run=False)

    def published(self, holder: str = "ours", authority: Authority | None = None) -> list[PublishedCrl]:
        """Every list made anew by this holder of the lease, as it is in force then."""
        made = run(Publisher(authority or self.authority, holder).publish())
        return [one for heading in made if (one := self.in_force(heading.issuer, heading.shard)) is not None]

    def in_force(self, issuer: str = "issuing-1", shard: int = 1) -> PublishedCrl | None:
        with self.database.read() as connection:
            return crls.find(connection, issuer, shard)

    # What became of them.

    def record(self, issued: Issued) -> CertificateRecord:
        with self.database.read() as connection:
            found = certificates.by_serial(connection, issued.intent.serial)
        assert found is not None
        return found

    def issued(self, wanted: Filter = Filter(tenant=TENANT)) -> list[CertificateRecord]:  # noqa: B008 (frozen)
        with self.database.read() as connection:
            return certificates.page(connection, wanted, self.clock(), limit=1000)

    def state(self, one: Intent) -> State:
        with self.database.read() as connection:
            found = certificates.standing(connection, one.serial)
        assert found is not None
        return found.reached

    def unfinished(self) -> list[Intent]:
        with self.database.read() as connection:
            return certificates.unfinished(connection)

    def audited(self, action: str) -> list[Entry]:
        with self.database.read() as connection:
            return [entry for entry in audit.everything(connection) if entry.action == action]

    def status(self, one: Intent) -> CertificateStatus:
        """What the status service would say."""
        reader = StatusReader(self.url)
        try:
            return reader.statuses(one.issuer, [one.serial])[one.serial]
        finally:
            reader.close()
