"""Binding a token: decided and recorded in one transaction, so that the authority knows which tokens a certificate has.

If we die before the commit there is no binding and no answer, and the authorization server, which fails closed, makes
no token. If we die after it there is a binding of a token that was never made: it expires by itself.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ca.authority.authority import Authority
from ca.hook import answers, inquiry
from ca.hook.answers import Answer
from ca.hook.inquiry import Asker, Inquiry
from ca.hook.standings import Subject
from ca.identifiers import Thumbprint
from ca.policy import binding
from ca.policy.binding import Allowed, Denied, Wanted
from ca.policy.ceiling import Principal
from ca.store import audit, bindings
from ca.store.audit import Entry
from ca.store.bindings import Binding
from ca.store.operators import Role
from ca.store.transaction import Connection

_RANDOM_OCTETS = 16


class Method(StrEnum):
    """What of a certificate goes into a token's `cnf` (RFC 8705 3.1, RFC 9449 6.1)."""

    CERTIFICATE = "x5t#S256"
    KEY = "jkt"


@dataclass(frozen=True, slots=True)
class Order:
    """A token that an authorization server is about to make."""

    wanted: Wanted
    method: Method = Method.CERTIFICATE
    issuer: str | None = None
    grant_type: str | None = None
    subject: Principal | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """Who asked, None for a stranger, and the answer, None for who may not ask."""

    asker: Asker | None
    answer: Answer | None = None


def bind(authority: Authority, connection: Connection, asked: Inquiry, order: Order, roles: Container[Role]) -> Bound:
    """Decides and records, or says why there is no token. `roles` are those that may ask."""
    [found] = inquiry.look_up(authority, connection, [asked])
    if found.asker is None or found.asker.role not in roles:
        return Bound(found.asker)
    now, subject = authority.clock(), found.subject
    if subject is None:
        return Bound(found.asker, _refused(found.asker, answers.unknown(foreign=found.foreign), order))
    decision = binding.decide(subject.standing, order.wanted, now, authority.token_lifetime)
    if isinstance(decision, Denied):
        audit.append(connection, _entry(found.asker, subject, order, now, {"reason": decision.why.value}))
        return Bound(found.asker, _refused(found.asker, decision, order))
    token = _binding(authority, found.asker, subject, order, decision, now)
    bindings.add(connection, token)
    detail = {"binding": token.id, "scope": token.scope, "expires_at": decision.expires.isoformat()}
    audit.append(connection, _entry(found.asker, subject, order, now, detail, "granted"))
    answer = answers.allowed(authority, subject, decision, now)
    # Exactly what is to be copied into the token, and nothing beside it.
    cnf = {order.method.value: answer["cnf"][order.method.value]}
    return Bound(found.asker, {**answer, "cnf": cnf, "binding_id": token.id})


def _refused(asker: Asker, decision: Denied, order: Order) -> Answer:
    error = binding.oauth_error(decision.why, order.grant_type)
    return {**answers.denied(decision, told=asker.party.sees_reasons), "oauth_error": answers.relayed(error)}


def _binding(
    authority: Authority, asker: Asker, subject: Subject, order: Order, decision: Allowed, now: datetime
) -> Binding:
    return Binding(
        id=f"b_{b32encode(authority.random(_RANDOM_OCTETS)).decode().rstrip('=').lower()}",
        party=asker.party.name,
        x5t=subject.record.x5t,
        jkt=Thumbprint.parse(subject.standing.jkt) if order.method is Method.KEY else None,
        issuer=order.issuer or asker.party.issuer,
        client_id=order.wanted.client_id or subject.client_id,
        grant_type=order.grant_type,
        subject=order.subject,
        scope=str(decision.reach.scope),
        created_at=now,
        expires_at=decision.expires,
    )


def _entry(
    asker: Asker, subject: Subject, order: Order, now: datetime, detail: Answer, decision: str = "refused"
) -> Entry:
    intent = subject.record.intent
    return Entry(
        at=now,
        actor=f"operator/{asker.party.name}",
        action="token.bind",
        decision=decision,
        tenant=intent.tenant,
        agent=intent.holder,
        task=intent.task,
        serial=str(intent.serial),
        detail={**detail, "issuer": order.issuer or asker.party.issuer, "grant_type": order.grant_type},
    )
