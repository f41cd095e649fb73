"""What rules are asked about: what is about to be certified, as a value and as it is recorded in the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ca.identifiers import AgentId, TaskId, TenantId
from ca.policy.ceiling import Principal
from ca.policy.scope import Scope, resources
from ca.refusals import Refused

ACTS = ("enrol", "renew", "delegate")


@dataclass(frozen=True, slots=True)
class Asking:
    """What is about to be certified, when every limit was applied: what rules are asked about.

    `proof` is how the agent proved who it is, `depth` how many delegations lie above it.
    """

    act: str
    tenant: TenantId
    agent: AgentId
    task: TaskId | None
    scope: Scope
    resources: tuple[str, ...]
    lifetime: timedelta
    proof: str
    depth: int
    principal: Principal | None
    now: datetime

    def to_json(self) -> dict[str, Any]:
        """As it is recorded. Lifetimes are seconds, the scope is one string (RFC 6749 3.3), times are RFC 3339."""
        seconds = self.lifetime / timedelta(seconds=1)
        optional: dict[str, Any] = {}
        if self.task is not None:
            optional["task"] = self.task
        if self.principal is not None:
            optional["principal"] = {"issuer": self.principal.issuer, "subject": self.principal.subject}
        return {
            "act": self.act,
            "tenant": self.tenant,
            "agent": self.agent,
            "scope": str(self.scope),
            "resources": list(self.resources),
            "lifetime": int(seconds) if seconds.is_integer() else seconds,
            "proof": self.proof,
            "depth": self.depth,
            "now": self.now.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            **optional,
        }

    @classmethod
    def from_json(cls, value: object) -> Asking:
        """The inverse of `to_json`; task, principal, scope, resources and depth may be left out.

        Raises `ValueError` with a sentence that names the key.
        """
        if not isinstance(value, Mapping):
            raise _unfit("An asking is a JSON object")
        if unknown := value.keys() - _KEYS.keys():
            raise _unfit(f"'{min(unknown)}' is not a key of an asking; known are {', '.join(_KEYS)}")
        if missing := _REQUIRED - value.keys():
            raise _unfit(f"'{min(missing)}' is missing")
        given = {**_LEFT_OUT, **value}
        return cls(**{key: _read(key, given[key]) for key in _KEYS})


def _act(value: str) -> str:
    if value not in ACTS:
        raise ValueError(f"is one of {', '.join(ACTS)}")
    return value


def _lifetime(value: float) -> timedelta:
    lifetime = timedelta(seconds=value)
    if lifetime <= timedelta(0):
        raise ValueError("is a number of seconds above 0")
    return lifetime


def _depth(value: int) -> int:
    if not 0 <= value < 1 << 31:
        raise ValueError("is 0 or more")
    return value


def _now(value: str) -> datetime:
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("has no time zone; end it in Z")
    return moment.astimezone(UTC)


def _principal(value: Mapping[str, Any]) -> Principal:
    if value.keys() != {"issuer", "subject"} or not all(isinstance(one, str) for one in value.values()):
        raise ValueError("has an issuer and a subject, and nothing else")
    return Principal(**value)


def _resources(value: list[Any]) -> tuple[str, ...]:
    if not all(isinstance(one, str) for one in value):
        raise ValueError("is an array of strings")
    return resources(value)


_KEYS: dict[str, tuple[type | tuple[type, ...], Any]] = {
    "act": (str, _act),
    "tenant": (str, TenantId),
    "agent": (str, AgentId),
    "task": (str, TaskId),
    "scope": (str, Scope.parse),
    "resources": (list, _resources),
    "lifetime": ((int, float), _lifetime),
    "proof": (str, str),
    "depth": (int, _depth),
    "principal": (Mapping, _principal),
    "now": (str, _now),
}
_LEFT_OUT: dict[str, Any] = {"task": None, "scope": "", "resources": [], "depth": 0, "principal": None}
_REQUIRED = _KEYS.keys() - _LEFT_OUT.keys()
_NULLABLE = ("task", "principal")


def _read(key: str, value: Any) -> Any:
    if value is None and key in _NULLABLE:
        return None
    kind, read = _KEYS[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _unfit(f"'{key}' is of the wrong type")
    try:
        return read(value)
    except (ValueError, OverflowError, Refused) as error:
        raise _unfit(f"'{key}' is wrong: {str(error).rstrip('.')}") from error


def _unfit(what: str) -> ValueError:
    return ValueError(f"{what}.")
