"""An operator's rules, in Cedar: they deny or shorten what was decided already, and never widen it.

A file holds `forbid` policies alone; the one `permit` is ours. Each has a name, `@id("...")`. One with
`@longest("5m")` is cured by a lifetime of at most that: what it matches is shortened, not denied. What was
shortened is judged again, so the rules hold for what comes out. A policy that cannot be evaluated denies, though
Cedar would pass over it. `SCHEMA` says what a policy can look at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from typing import Any

import cedarpy

from ca.identifiers import AgentId, TenantId
from ca.policy.asking import Asking
from ca.refusals import Refused

SCHEMA = """\
// Who asks for a certificate, as Agent::"<tenant>/<agent>", and in which tenant, as Tenant::"<tenant>".
entity Agent;
entity Tenant;

type OnBehalfOf = { "issuer": String, "subject": String };

type Asking = {
    "tenant": String,
    "agent": String,                // its name in the tenant; a child's is "<parent>.<suffix>"
    "task"?: String,
    "scope": Set<String>,           // what the certificate would say
    "resources": Set<String>,
    "lifetime": duration,           // how long it would live
    "proof": String,                // "token", "certificate", "delegation", or a provider's name
    "depth": Long,                  // delegations between the first certificate and this one
    "on_behalf_of"?: OnBehalfOf,    // the task's principal
    "now": datetime,
    "weekday": String,              // "monday" to "sunday", in UTC as `now`
};

action "enrol", "renew", "delegate" appliesTo { principal: [Agent], resource: [Tenant], context: Asking };
"""
"""What a policy can look at, in Cedar's own words."""

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_OURS = ""
"""The id of our permit: no name of a policy is empty."""
_ALL = {"op": "All"}
_PERMIT = {"effect": "permit", "principal": _ALL, "action": _ALL, "resource": _ALL, "conditions": []}
_NOBODY = cedarpy.Entities.from_json_str("[]")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DURATION = re.compile(r"([1-9]\d{0,8})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_END = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n\r]*|;', re.DOTALL)
_BLANK = re.compile(r"(?:\s|//[^\n\r]*)*")
_ABOUT = re.compile(r"^for policy `[^`]*`, ")
_FAILED = re.compile(r"policy `([^`]*)`")


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether it may be, for how long at most, and the names of the policies that decided (none: nothing objects).

    `failed` says that they could not be evaluated, and denied for that.
    """

    allowed: bool
    lifetime: timedelta
    by: tuple[str, ...] = ()
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """One `forbid`: its name, the line it begins at, and the lifetime that cures its match, if one does."""

    name: str
    line: int
    longest: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """Policies that were checked and are ready. `Rules.parse` makes them."""

    policies: tuple[Policy, ...] = ()
    _prepared: cedarpy.PolicySet | None = field(default=None, repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> Rules:
        """From a file's text. Raises `ValueError` with a sentence that names the line and the policy."""
        schema = cedarpy.Schema.from_str(SCHEMA)
        policies: dict[str, Policy] = {}
        bodies: dict[str, Any] = {_OURS: _PERMIT}
        for line, source in _statements(text):
            body = _body(source, line, schema)
            policy = _policy(body, line)
            if policy.name in policies:
                first = policies[policy.name].line
                raise _wrong(line, policy.name, f"the policy of line {first} has the same name")
            policies[policy.name], bodies[policy.name] = policy, body
        if not policies:
            return NO_RULES
        together = {"staticPolicies": bodies, "templates": {}, "templateLinks": []}
        return cls(tuple(policies.values()), cedarpy.PolicySet.from_json_str(json.dumps(together)))

    def judge(self, asking: Asking) -> Judgement:
        """What of it may be. Never more than was asked for, and nothing where a policy cannot be evaluated."""
        if self._prepared is None:
            return Judgement(True, asking.lifetime)
        cures = {policy.name: policy.longest for policy in self.policies}
        lifetime, by = asking.lifetime, tuple[str, ...]()
        # Each round ends it or takes the lifetime down to another policy's: as many rounds as policies, at most.
        while True:
            result = cedarpy.is_authorized(_request(asking, lifetime), self._prepared, _NOBODY)
            errors, matched = result.diagnostics.errors, set(result.diagnostics.reasons) - {_OURS}
            final = {name for name in matched if cures.get(name) is None}
            if errors or final or not (matched or result.allowed):
                final.update(name for error in errors for name in _FAILED.findall(error))
                return Judgement(False, timedelta(0), tuple(sorted(final)), failed=bool(errors))
            longest = {name: cure for name in matched if (cure := cures[name]) is not None}
            shortest = min(longest.values(), default=lifetime)
            if shortest >= lifetime:
                return Judgement(True, lifetime, by)
            lifetime, by = shortest, tuple(sorted(name for name, cure in longest.items() if cure == shortest))


NO_RULES = Rules()
"""Nothing is denied or shortened, and Cedar is not called."""


def _request(asking: Asking, lifetime: timedelta) -> dict[str, Any]:
    """As Cedar takes it. Parts of a millisecond count as a whole one of the lifetime."""
    milliseconds = -(-lifetime // timedelta(milliseconds=1))
    now = asking.now.astimezone(UTC)
    context = {
        "tenant": asking.tenant,
        "agent": asking.agent,
        "scope": list(asking.scope.tokens),
        "resources": asking.resources,
        "lifetime": {"__extn": {"fn": "duration", "arg": f"{milliseconds}ms"}},
        "proof": asking.proof,
        "depth": asking.depth,
        "now": {"__extn": {"fn": "datetime", "arg": f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03}Z"}},
        "weekday": _WEEKDAYS[now.weekday()],
    }
    if asking.task is not None:
        context["task"] = asking.task
    if asking.principal is not None:
        context["on_behalf_of"] = {"issuer": asking.principal.issuer, "subject": asking.principal.subject}
    return {
        "principal": {"type": "Agent", "id": f"{asking.tenant}/{asking.agent}"},
        "action": {"type": "Action", "id": asking.act},
        "resource": {"type": "Tenant", "id": asking.tenant},
        "context": context,
    }


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each policy and the line it begins at. A `;` outside of strings and comments ends one, and nothing else does."""
    ends = [found.end() for found in _END.finditer(text) if found[0] == ";"]
    for start, end in zip([0, *ends], [*ends, len(text)], strict=True):
        source = text[start:end]
        blank = _BLANK.match(source)
        begin = blank.end() if blank else 0
        if source[begin:]:
            yield text.count("\n", 0, start + begin) + 1, source


def _body(source: str, line: int, schema: cedarpy.Schema) -> dict[str, Any]:
    """One policy as Cedar's JSON, valid by our schema."""
    try:
        parsed = json.loads(cedarpy.policies_to_json_str(source))
    except ValueError as error:
        raise _wrong(line, None, str(error)) from error
    if parsed["templates"] or len(parsed["staticPolicies"]) != 1:
        raise _wrong(line, None, "it has a slot (?principal, ?resource), and nothing would ever fill it")
    (body,) = parsed["staticPolicies"].values()
    name = _annotations(body).get("id")
    if errors := cedarpy.validate_policies(source, schema).errors:
        raise _wrong(line, name, _ABOUT.sub("", errors[0].error))
    for kind, text in _entities(body):
        if not _is_name(kind, text):
            raise _wrong(line, name, f'{kind}::"{text}" is nobody: write Agent::"<tenant>/<agent>", Tenant::"<tenant>"')
    return dict(body)


def _policy(body: Mapping[str, Any], line: int) -> Policy:
    annotations = _annotations(body)
    name, longest = annotations.get("id"), annotations.get("longest")
    if body["effect"] != "forbid":
        raise _wrong(line, name, "only 'forbid' may stand here: a policy takes from what was decided, and never adds")
    if name is None:
        raise _wrong(line, None, 'it has no name; write @id("...") before it')
    if not _NAME.fullmatch(name):
        raise _wrong(line, name, "a name is 1 to 64 letters, digits, '.', '_' or '-'")
    if unknown := annotations.keys() - {"id", "longest"}:
        raise _wrong(line, name, f"@{min(unknown)} is not known; @id and @longest are")
    return Policy(name, line, None if longest is None else _duration(longest, line, name))


def _annotations(body: Mapping[str, Any]) -> dict[str, str]:
    """Those of a policy; one without a value is there, and empty."""
    return {name: text or "" for name, text in body.get("annotations", {}).items()}


def _duration(text: str, line: int, name: str) -> timedelta:
    if match := _DURATION.fullmatch(text):
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    raise _wrong(line, name, '@longest is a time such as "90s", "5m", "8h" or "2d"')


def _entities(body: Any) -> Iterator[tuple[str, str]]:
    """Every entity that a policy names, as its type and id."""
    if isinstance(body, dict):
        match body:
            case {"type": str(kind), "id": str(text)}:
                yield kind, text
        for inner in body.values():
            yield from _entities(inner)
    elif isinstance(body, list):
        for inner in body:
            yield from _entities(inner)


def _is_name(kind: str, text: str) -> bool:
    """Whether there could be such an entity: of another spelling a policy would silently never match."""
    tenant, slash, agent = text.partition("/")
    try:
        TenantId(tenant)
        return kind == "Action" or (bool(slash and AgentId(agent)) if kind == "Agent" else not slash)
    except Refused:
        return False


def _wrong(line: int, name: str | None, what: str) -> ValueError:
    policy = f", policy '{name}'" if name else ""
    return ValueError(f"line {line}{policy}: {what}")
