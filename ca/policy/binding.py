"""The hook's decision: how far a token reaches that is bound to a certificate now, or why there is none.

One pure function of the certificate, of the agent and the task as they are now, of what was asked, and of the clock.
Nothing widens: a token has at most what its certificate, its task and its agent's ceiling all have.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from ca.policy.ceiling import Agent, AgentState, Lineage, Task, TaskState
from ca.policy.reach import Narrower, Reach
from ca.refusals import Reason, Refused


class Why(StrEnum):
    """Why there is no token, in the words of the answer."""

    UNKNOWN = "certificate_unknown"
    UNTRUSTED = "certificate_untrusted"
    REVOKED = "certificate_revoked"
    EXPIRED = "certificate_expired"
    NOT_YET_VALID = "certificate_not_yet_valid"
    ON_HOLD = "certificate_on_hold"
    DELEGATION_REVOKED = "delegation_revoked"
    AGENT_SUSPENDED = "agent_suspended"
    TASK_ENDED = "task_ended"
    CLIENT_MISMATCH = "client_mismatch"
    KEY_MISMATCH = "key_mismatch"
    SCOPE_EXCEEDED = "scope_exceeded"
    RESOURCE_EXCEEDED = "resource_exceeded"
    DETAILS_EXCEEDED = "details_exceeded"


TERMINAL = frozenset({Why.REVOKED, Why.EXPIRED, Why.DELEGATION_REVOKED, Why.TASK_ENDED})
"""What never becomes better for this certificate: an answer that says so can be kept."""

_EXCEEDED = {
    Reason.SCOPE_EXCEEDED: Why.SCOPE_EXCEEDED,
    Reason.RESOURCE_EXCEEDED: Why.RESOURCE_EXCEEDED,
    Reason.DETAILS_EXCEEDED: Why.DETAILS_EXCEEDED,
}


@dataclass(frozen=True, slots=True)
class Standing:
    """An agent's certificate and all that it stands on, as they are now.

    `names` are the client identifiers that it may be known by; `jkt` the thumbprint of its key (RFC 7638). `above` are
    the agents that delegated to it, the nearest first. `agent`, `task` and those above are None where they are gone.
    """

    names: frozenset[str]
    jkt: str
    not_before: datetime
    not_after: datetime
    revoked_at: datetime | None
    held: bool
    fell_with_its_parent: bool
    agent: Agent | None
    above: tuple[Agent | None, ...]
    for_task: bool
    task: Task | None
    reach: Reach
    lineage: Lineage | None = None


WHOLE = Narrower()
"""All that there is."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an authorization server wants a token for; what is None is wanted whole.

    `jkt` is the key that a DPoP proof was signed with (RFC 9449); it must be the certificate's own.
    """

    client_id: str | None = None
    narrower: Narrower = WHOLE
    jkt: str | None = None
    expires: datetime | None = None


ANYTHING = Wanted()
"""A question about the certificate alone."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """A token may be bound: how far it reaches, and its latest `exp`."""

    reach: Reach
    expires: datetime


@dataclass(frozen=True, slots=True)
class Denied:
    """There is no token, and why."""

    why: Why
    revoked_at: datetime | None = None

    @property
    def terminal(self) -> bool:
        """Whether it stays so."""
        return self.why in TERMINAL


def decide(standing: Standing, wanted: Wanted, now: datetime, longest: timedelta) -> Allowed | Denied:
    """What may be bound to the certificate now. No token lives longer than `longest`, nor than what it stands on."""
    if (why := _fallen(standing, now) or _mistaken(standing, wanted)) is not None:
        return Denied(why, standing.revoked_at)
    try:
        reach = wanted.narrower.of(_available(standing))
    except Refused as refusal:
        return Denied(_EXCEEDED[refusal.reason])
    ends = [standing.not_after, now + longest]
    if standing.task is not None:
        ends.append(standing.task.deadline)
    if wanted.expires is not None:
        ends.append(wanted.expires)
    return Allowed(reach, min(ends).replace(microsecond=0))


def _fallen(standing: Standing, now: datetime) -> Why | None:
    if standing.revoked_at is not None:
        fell = Why.DELEGATION_REVOKED if standing.fell_with_its_parent else Why.REVOKED
        return Why.ON_HOLD if standing.held else fell
    task = standing.task
    is_running = task is not None and task.state is TaskState.RUNNING and task.deadline > now
    faults = {
        Why.EXPIRED: now.replace(microsecond=0) > standing.not_after,
        Why.NOT_YET_VALID: now < standing.not_before,
        Why.AGENT_SUSPENDED: not _is_active(standing.agent),
        Why.DELEGATION_REVOKED: not all(map(_is_active, standing.above)),
        Why.TASK_ENDED: standing.for_task and not is_running,
    }
    return next((why for why, is_so in faults.items() if is_so), None)


def _mistaken(standing: Standing, wanted: Wanted) -> Why | None:
    if wanted.client_id is not None and wanted.client_id not in standing.names:
        return Why.CLIENT_MISMATCH
    if wanted.jkt is not None and wanted.jkt != standing.jkt:
        return Why.KEY_MISMATCH
    return None


def _available(standing: Standing) -> Reach:
    """As at a renewal: what was taken from the task or the ceiling since the issue is gone."""
    if standing.task is None or standing.agent is None:
        return Reach()
    reach = standing.reach.intersection(standing.task.reach)
    for agent in (standing.agent, *standing.above):
        if agent is not None:
            reach = replace(reach, scope=reach.scope.intersection(agent.ceiling))
    return reach


def _is_active(agent: Agent | None) -> bool:
    return agent is not None and agent.state is AgentState.ACTIVE


@dataclass(frozen=True, slots=True)
class OauthError:
    """What the authorization server answers its client, word for word (RFC 6749 5.2)."""

    status: int
    error: str
    description: str


_AT_FAULT = {
    Why.SCOPE_EXCEEDED: ("invalid_scope", "The scope exceeds what the task of this agent has."),
    Why.RESOURCE_EXCEEDED: ("invalid_target", "The resource is not one of the task of this agent."),  # RFC 8707 2
    Why.DETAILS_EXCEEDED: (
        "invalid_authorization_details",  # RFC 9396 5
        "The authorization details exceed those of the task of this agent.",
    ),
}
_NOT_AUTHORIZED = frozenset({Why.AGENT_SUSPENDED, Why.TASK_ENDED, Why.DELEGATION_REVOKED})
_CLIENT_CREDENTIALS = "client_credentials"


def oauth_error(why: Why, grant_type: str | None) -> OauthError:
    """A fault of the certificate is the client's (401, RFC 6749 5.2), one of task or agent the grant's."""
    if why in _AT_FAULT:
        return OauthError(400, *_AT_FAULT[why])
    if why in _NOT_AUTHORIZED:
        has_no_grant = grant_type is None or grant_type == _CLIENT_CREDENTIALS
        error = "unauthorized_client" if has_no_grant else "invalid_grant"
        return OauthError(400, error, "The agent, its task or what delegated to it has ended or is suspended.")
    return OauthError(401, "invalid_client", "The client certificate is not acceptable for this client now.")
