"""Who calls, and what each role may do: one table.

A caller is known by its client certificate: issued by this authority, live, and an operator's or
an agent's own. The handshake verified the chain; whether the certificate still stands is looked
up at every request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from fastapi import Depends, Request

from ca.authority.authority import Authority
from ca.identifiers import AgentId, OperatorName, TenantId
from ca.pki.profile import Kind
from ca.refusals import Reason, Refused
from ca.store import certificates, operators
from ca.store.certificates import CertificateRecord
from ca.store.operators import Role
from ca.web.peer import peer_thumbprint


class Act(StrEnum):
    """What can be done through the API."""

    READ = "read"
    REGISTER = "register agents and tasks"
    ADMIT = "make enrolment tokens"
    REVOKE = "revoke"
    PUBLISH = "publish CRLs"
    MANAGE = "manage operators"
    ASK = "ask the hook about certificates"


PERMISSIONS: dict[Role, frozenset[Act]] = {
    Role.ADMIN: frozenset(Act),
    Role.OPERATOR: frozenset({Act.READ, Act.REVOKE, Act.PUBLISH}),
    Role.ORCHESTRATOR: frozenset({Act.READ, Act.REGISTER, Act.ADMIT}),
    Role.AUDITOR: frozenset({Act.READ}),
    Role.RELYING_PARTY: frozenset({Act.ASK}),
}


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller. `name` is its SPIFFE path, for the audit log."""

    name: str
    role: Role | None = None
    tenant: TenantId | None = None
    agent: AgentId | None = None

    def require(self, act: Act) -> None:
        """Raises `Refused(FORBIDDEN)`."""
        if self.role is None or act not in PERMISSIONS[self.role]:
            whom = f"The role {self.role.value}" if self.role else "An agent"
            raise Refused(Reason.FORBIDDEN, f"{whom} may not {act.value}.")


async def authority_of(request: Request) -> Authority:
    """The authority that this application serves. Asynchronous, or the framework would ask a thread for it."""
    authority: Authority = request.app.state.authority
    return authority


def caller(request: Request) -> Caller:
    """The operator or agent behind the client certificate. Raises `Refused(UNAUTHENTICATED)`."""
    who = _identified(request)
    request.state.caller = who.name  # for the audit trail, should the act fail in a way nobody foresaw
    return who


def _identified(request: Request) -> Caller:
    authority: Authority = request.app.state.authority
    thumbprint = peer_thumbprint(request.scope)
    if thumbprint is None:
        raise _stranger("This needs a client certificate of this authority.")
    with authority.database.read() as connection:
        record = certificates.by_thumbprint(connection, thumbprint)
        if record is None or record.state(authority.clock()) != "live":
            raise _stranger("The client certificate is not live: revoked, expired, or not of this authority.")
        if record.intent.kind is Kind.AGENT:
            return _agent(record)
        if record.intent.kind is Kind.OPERATOR:
            operator = operators.find(connection, OperatorName(record.intent.holder))
            if operator is not None:
                return Caller(name=f"operator/{operator.name}", role=operator.role)
    raise _stranger("The client certificate is neither an operator's nor an agent's.")


def may(act: Act) -> Callable[[Request], Caller]:
    """A route's signature says what it takes: `Annotated[Caller, Depends(may(Act.REVOKE))]`."""

    def permitted(request: Request) -> Caller:
        who = caller(request)
        who.require(act)
        return who

    return permitted


def _agent(record: CertificateRecord) -> Caller:
    intent = record.intent
    return Caller(name=f"agent/{intent.tenant}/{intent.holder}", tenant=intent.tenant, agent=AgentId(intent.holder))


def _stranger(detail: str) -> Refused:
    return Refused(Reason.UNAUTHENTICATED, detail)


TheAuthority = Annotated[Authority, Depends(authority_of)]
AnyCaller = Annotated[Caller, Depends(caller)]
Reader = Annotated[Caller, Depends(may(Act.READ))]
Registrar = Annotated[Caller, Depends(may(Act.REGISTER))]
Admitter = Annotated[Caller, Depends(may(Act.ADMIT))]
Revoker = Annotated[Caller, Depends(may(Act.REVOKE))]
Publisher = Annotated[Caller, Depends(may(Act.PUBLISH))]
Manager = Annotated[Caller, Depends(may(Act.MANAGE))]
