"""The words of an answer: RFC 7662 for what a certificate is worth, with the members of RFC 8693, 8705 and 9396.

The HTTP status is about the call, the body about the certificate: what is of no use is `{"active": false}`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ca.authority.authority import Authority
from ca.hook.standings import Subject
from ca.policy.binding import Allowed, Denied, OauthError, Why
from ca.policy.ceiling import Task

_LONGEST_KEPT = 5
"""Seconds for which an answer may be kept: the longest that a caller of its own will can be wrong."""

_ENDED_KEPT = 3600
"""Seconds for what stays so: longer than any agent's certificate lives."""

Answer = dict[str, Any]


def allowed(authority: Authority, subject: Subject, decision: Allowed, now: datetime) -> Answer:
    """What may be relied on now."""
    standing, intent = subject.standing, subject.record.intent
    task = standing.task
    return {
        "active": True,
        "iss": authority.public_url,
        "client_id": subject.client_id,
        "sub": subject.spiffe_id,
        "cnf": {"x5t#S256": subject.record.x5t.base64url, "jkt": standing.jkt},
        "nbf": _seconds(standing.not_before),
        "exp": _seconds(standing.not_after),
        "tls_client_auth_subject_dn": subject.subject_dn,
        "tls_client_auth_san_uri": subject.spiffe_id,
        "x509": {"issuer": authority.issuer.dn, "serial": str(intent.serial)},
        **({"task": _task(task)} if task else {}),
        "scope": str(decision.reach.scope),
        "resource": list(decision.reach.resources),
        "authorization_details": list(decision.reach.details.items),
        **_act(subject, task),
        "max_token_exp": _seconds(decision.expires),
        "status_as_of": _seconds(now),
    }


def denied(decision: Denied, *, told: bool) -> Answer:
    """What is of no use; why, only to whom may be `told` (RFC 7662 2.2)."""
    if not told:
        return {"active": False}
    revoked = {} if decision.revoked_at is None else {"revoked_at": _seconds(decision.revoked_at)}
    return {"active": False, "reason": decision.why.value, **revoked, "terminal": decision.terminal}


def unknown(*, foreign: bool) -> Denied:
    """Of a certificate that is not here, or not for this asker: the two are not told apart."""
    return Denied(Why.UNTRUSTED if foreign else Why.UNKNOWN)


def relayed(error: OauthError) -> Answer:
    """What an authorization server answers its client."""
    return {"status": error.status, "error": error.error, "error_description": error.description}


def cache_control(answer: Answer, now: datetime) -> str:
    """For how long the caller may keep it: a good one for seconds, a bad one only where it stays so."""
    if answer["active"]:
        return f"private, max-age={max(0, min(_LONGEST_KEPT, answer['exp'] - _seconds(now)))}"
    return f"private, max-age={_ENDED_KEPT}" if answer.get("terminal") else "no-store"


def _task(task: Task) -> Answer:
    return {"id": task.id, "status": task.state.value, "exp": _seconds(task.deadline)}


def _act(subject: Subject, task: Task | None) -> Answer:
    """Who acts (RFC 8693 4.1), ready for a token: for a user the agent, by itself whoever delegated to it."""
    principal = task.principal if task else None
    actors = subject.above if principal is None else (subject.spiffe_id, *subject.above)
    act: Answer | None = None
    for actor in reversed(actors):
        act = {"sub": actor} if act is None else {"sub": actor, "act": act}
    named = {} if principal is None else {"principal": {"iss": principal.issuer, "sub": principal.subject}}
    return named if act is None else {**named, "act": act}


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
