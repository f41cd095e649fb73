"""Rows to put into the database: complete, and named after what differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from cryptography import x509

from ca.identifiers import AgentId, Serial, TaskId, TenantId, Thumbprint
from ca.pki.profile import Kind
from ca.pki.signed import ToBeSigned, assemble
from ca.policy.ceiling import Agent, AgentState, Principal, Task, TaskState
from ca.policy.details import Details
from ca.policy.reach import Reach
from ca.policy.scope import Scope
from ca.store import certificates, revocations
from ca.store.agents import AgentRecord
from ca.store.certificates import Intent, Result
from ca.store.crls import PublishedCrl
from ca.store.issuers import IssuerRecord
from ca.store.tables import certificates as certificates_table
from ca.store.tasks import TaskRecord
from ca.store.tokens import TokenRecord
from ca.store.transaction import Connection, Database

_T = TypeVar("_T")

NOW = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
TENANT, AGENT, TASK = TenantId("acme"), AgentId("bot"), TaskId("invoices")
ISSUER = "issuing-1"
TBS, ALGORITHM, SIGNATURE = b"\x30\x03\x02\x01\x05", bytes.fromhex("300a06082a8648ce3d040302"), b"signature"


def written(database: Database, act: Callable[[Connection], _T]) -> _T:
    return database.write(act).result(10)


def issuer(name: str, kind: Kind = Kind.ISSUING, created_at: datetime = NOW) -> IssuerRecord:
    return IssuerRecord(name, kind, name, b"certificate of " + name.encode(), created_at)


def intent(number: int, **changes: Any) -> Intent:
    made = Intent(
        issuer=ISSUER,
        serial=Serial.assign(1, number.to_bytes(18, "big")),
        kind=Kind.AGENT,
        tenant=TENANT,
        holder=AGENT,
        task=TASK,
        key=Thumbprint.of(b"key"),
        not_before=NOW - timedelta(seconds=60),
        not_after=NOW + timedelta(minutes=15),
        crl_shard=1,
        to_be_signed=ToBeSigned(TBS, ALGORITHM),
        created_at=NOW,
    )
    return replace(made, **changes)


def x5t(one: Intent) -> Thumbprint:
    return Thumbprint.of(str(one.serial).encode())


def issue(database: Database, *intents: Intent) -> None:
    """Intents and their results."""

    def act(connection: Connection) -> None:
        certificates.intend(connection, intents)
        certificates.record(connection, [Result(one, SIGNATURE, x5t(one)) for one in intents])

    written(database, act)


def der() -> bytes:
    return assemble(ToBeSigned(TBS, ALGORITHM), SIGNATURE)


def agent(name: str = AGENT, tenant: str = TENANT, **changes: Any) -> AgentRecord:
    made = Agent(TenantId(tenant), AgentId(name), AgentState.ACTIVE, Scope.parse("read write"), timedelta(minutes=5), 3)
    return AgentRecord(replace(made, **changes), "Pays the bills.", NOW)


def task(name: str = TASK, tenant: str = TENANT, **changes: Any) -> TaskRecord:
    made = Task(
        id=TaskId(name),
        agent=AGENT,
        state=TaskState.RUNNING,
        reach=Reach(Scope.parse("read"), ("https://api.example",), Details.of([{"type": "payment", "limit": 5}])),
        deadline=NOW + timedelta(hours=1),
        principal=Principal("https://idp.example", "alice"),
    )
    return TaskRecord(TenantId(tenant), replace(made, **changes), NOW)


def token(text: str = "one", **changes: Any) -> TokenRecord:
    made = TokenRecord(Thumbprint.of(text.encode()), TENANT, AGENT, TASK, None, "ops", NOW, NOW + timedelta(minutes=5))
    return replace(made, **changes)


def crl(number: int, this_update: datetime = NOW, shard: int = 0, revision: int = 1) -> PublishedCrl:
    times = (this_update, this_update + timedelta(hours=1))
    return PublishedCrl(ISSUER, shard, number, *times, revision, entries=0, der=b"crl %d" % number)


def revoke(
    database: Database,
    *intents: Intent,
    at: datetime = NOW,
    reason: x509.ReasonFlags = x509.ReasonFlags.superseded,
    issuer: str = ISSUER,
) -> int:
    """Revokes or holds them in one act; how many that changed."""

    def act(connection: Connection) -> int:
        begun = revocations.begin(connection, issuer, at, reason)
        revocations.revoke(connection, begun, certificates_table.c.serial.in_([one.serial.octets for one in intents]))
        return revocations.count(connection, revocations.done_by(begun))

    return written(database, act)


def hold(database: Database, *intents: Intent, at: datetime = NOW) -> int:
    return revoke(database, *intents, at=at, reason=x509.ReasonFlags.certificate_hold)


def release(database: Database, one: Intent, at: datetime = NOW) -> bool:
    def act(connection: Connection) -> bool:
        begun = revocations.begin(connection, ISSUER, at, x509.ReasonFlags.remove_from_crl)
        return revocations.release(connection, begun, one.serial)

    return written(database, act)
