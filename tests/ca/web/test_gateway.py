"""What a proxy is told: three statuses, whatever it asks, and headers of which none is ever left out."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from ca.authority import agents, hold, tasks
from ca.authority.issuance import Issued
from ca.hook.gate import Gate
from ca.hook.headers import Form
from ca.hook.lookups import Lookups
from ca.identifiers import AgentId, TaskId
from ca.policy.calls import Place
from ca.policy.ceiling import Asked, TaskState
from ca.policy.details import NO_DETAILS
from ca.policy.reach import Narrower
from ca.web.gateway import Gateway, Shown
from ca.web.issued import pem
from tests.ca.authority.stage import AGENT, TASK, TENANT, Stage, run

RESOURCE = "https://mcp.example/mcp"
DETAILS = [{"type": "mcp", "locations": [RESOURCE], "actions": ["tools/call"], "datatypes": ["read_file"]}]
READ = {"Mcp-Method": "tools/call", "Mcp-Name": "read_file"}
HEADERS = ["id", "client-id", "x5t-s256", "task", "scope", "act", "exp"]

Fields = dict[str, str] | list[tuple[str, str]]


class Asking:
    """A proxy in front of `RESOURCE`, in this process."""

    def __init__(self, stage: Stage, form: Form = Form.RFC9440, resource: str | None = RESOURCE) -> None:
        self.lookups = Lookups(stage.authority)
        gate = Gate(stage.authority, self.lookups, Place(resource))
        self.app = Gateway(gate, Shown(b"client-cert", form), resource)

    def ask(
        self, fields: Fields, method: str = "GET", path: str = "/v1/as/authz", content: bytes = b""
    ) -> httpx2.Response:
        async def call() -> httpx2.Response:
            transport = httpx2.ASGITransport(self.app, raise_app_exceptions=True)
            async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as client:
                return await client.request(method, path, headers=fields, content=content)

        answer = run(call())
        assert answer.status_code in (200, 401, 403)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.content == b""
        return answer

    def error(self, fields: Fields, **how: Any) -> tuple[int, str]:
        answer = self.ask(fields, **how)
        assert "x-agent-id" not in answer.headers
        assert ("www-authenticate" in answer.headers) is (answer.status_code == 401)
        return answer.status_code, answer.headers["x-agent-error"]


def shown(der: bytes) -> dict[str, str]:
    return {"Client-Cert": f":{b64encode(der).decode()}:"}


@pytest.fixture
def asking(stage: Stage) -> Asking:
    return Asking(stage)


@pytest.fixture
def agent(stage: Stage) -> Issued:
    stage.task("gated", scope="read", resources=(RESOURCE,), details=DETAILS)
    return stage.enrolled(task="gated")


def test_a_call_passes_and_its_server_learns_who_calls(asking: Asking, agent: Issued) -> None:
    answer = asking.ask({**shown(agent.der), **READ})
    assert answer.status_code == 200
    assert {name: answer.headers[f"x-agent-{name}"] for name in HEADERS} == {
        "id": "spiffe://agents.example/agent/acme/bot",
        "client-id": "https://ca.example/clients/acme/bot",
        "x5t-s256": agent.x5t.base64url,
        "task": "gated",
        "scope": "read",
        "act": "",
        "exp": str(int(agent.intent.not_after.timestamp())),
    }
    assert "x-agent-error" not in answer.headers


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD", "PROPFIND"])
@pytest.mark.parametrize("path", ["/v1/as/authz", "/v1/as/authz/", "/v1/as/authz/mcp?x=%00&y=../.."])
def test_any_method_and_any_path_below(asking: Asking, agent: Issued, method: str, path: str) -> None:
    fields = {**shown(agent.der), **READ}
    assert asking.ask(fields, method=method, path=path, content=b"x" * 100_000).status_code == 200


@pytest.mark.parametrize("path", ["/", "/v1/as/authzx", "/v1/as/introspect", "/healthz"])
def test_elsewhere_is_no(asking: Asking, agent: Issued, path: str) -> None:
    assert asking.error({**shown(agent.der), **READ}, path=path) == (403, "path_unknown")


@pytest.mark.parametrize("form", Form)
def test_every_form_finds_it(stage: Stage, agent: Issued, form: Form) -> None:
    values = {
        Form.RFC9440: shown(agent.der)["Client-Cert"],
        Form.ESCAPED_PEM: quote(pem(agent.der), safe=""),
        Form.XFCC: f'Hash={"0" * 64},By=x;Hash={agent.x5t.hex};Subject="CN=a,OU=b"',
    }
    asking = Asking(stage, form)
    assert asking.ask({"Client-Cert": values.pop(form), **READ}).status_code == 200
    for other in values.values():
        assert asking.error({"Client-Cert": other, **READ}) == (401, "certificate_malformed")


def test_a_certificate_that_is_not_there_is_401(asking: Asking, agent: Issued, stage: Stage) -> None:
    (value,) = shown(agent.der).values()
    assert asking.error(READ) == (401, "certificate_missing")
    assert asking.error({"Client-Cert": "", **READ}) == (401, "certificate_missing")
    assert asking.error({"X-Client-Cert": value, "Client_Cert": value}) == (401, "certificate_missing")
    for other in (value, "", ":AAAA:"):
        for both in ([value, other], [other, value]):
            fields = [("Client-Cert", one) for one in both] + list(READ.items())
            assert asking.error(fields) == (401, "certificate_malformed")
    assert asking.error({"Client-Cert": f"{value}, {value}"}) == (401, "certificate_malformed")
    assert asking.error(shown(b"nothing")) == (401, "certificate_untrusted")
    answer = asking.ask(READ)
    assert answer.headers["www-authenticate"] == (
        'Bearer error="invalid_token", resource_metadata="https://mcp.example/.well-known/oauth-protected-resource/mcp"'
    )
    stage.clock.forward(hours=2)
    assert asking.error({**shown(agent.der), **READ}) == (401, "certificate_expired")


@pytest.mark.parametrize(
    ("resource", "metadata"),
    [
        ("https://a.example", "https://a.example/.well-known/oauth-protected-resource"),
        ("https://a.example/", "https://a.example/.well-known/oauth-protected-resource"),
        ("https://a.example:8443/b/c?d=e", "https://a.example:8443/.well-known/oauth-protected-resource/b/c?d=e"),
    ],
)
def test_where_the_resource_describes_itself(stage: Stage, resource: str, metadata: str) -> None:
    """RFC 9728 3.1."""
    challenge = Asking(stage, resource=resource).ask({}).headers["www-authenticate"]
    assert challenge == f'Bearer error="invalid_token", resource_metadata="{metadata}"'


def test_without_a_resource_any_task_does(stage: Stage) -> None:
    bare = stage.enrolled()
    assert Asking(stage).error(shown(bare.der)) == (403, "resource_exceeded")
    open_ = Asking(stage, resource=None)
    assert open_.ask(shown(bare.der)).headers["x-agent-task"] == TASK
    assert open_.ask({}).headers["www-authenticate"] == 'Bearer error="invalid_token"'
    without = open_.ask(shown(stage.enrolled(task=None).der))
    assert (without.status_code, without.headers["x-agent-task"], without.headers["x-agent-scope"]) == (200, "", "")


ENDS: dict[str, tuple[Callable[[Stage, Issued], object], str]] = {
    "revoked": (lambda stage, one: stage.revoke(one), "certificate_revoked"),
    "held": (lambda stage, one: hold.hold(stage.authority, one.intent.serial, "ops"), "certificate_on_hold"),
    "suspended": (
        lambda stage, _: agents.suspend(stage.authority, TENANT, AgentId(AGENT), "ops"),
        "agent_suspended",
    ),
    "task ended": (
        lambda stage, _: tasks.end(stage.authority, TENANT, TaskId("gated"), TaskState.COMPLETED, "ops"),
        "certificate_revoked",
    ),
}


@pytest.mark.parametrize(("act", "why"), ENDS.values(), ids=ENDS.keys())
def test_what_has_ended_is_403_in_the_next_answer(
    stage: Stage, asking: Asking, agent: Issued, act: Callable[[Stage, Issued], object], why: str
) -> None:
    assert asking.ask({**shown(agent.der), **READ}).status_code == 200
    act(stage, agent)
    assert asking.error({**shown(agent.der), **READ}) == (403, why)


def test_a_task_past_its_deadline_has_ended(stage: Stage, asking: Asking) -> None:
    stage.task("gated", resources=(RESOURCE,))
    one = stage.enrolled(task="gated")
    tasks.narrow(stage.authority, TENANT, TaskId("gated"), Narrower(), stage.clock.now + timedelta(seconds=5), "ops")
    assert asking.ask(shown(one.der)).status_code == 200
    stage.clock.forward(seconds=6)
    assert asking.error(shown(one.der)) == (403, "task_ended")


def test_a_child_says_for_whom_and_ends_with_its_parent(stage: Stage, asking: Asking) -> None:
    stage.agent("boss", max_depth=1)
    stage.task("whole", agent="boss", resources=(RESOURCE,))
    parent = stage.enrolled("boss", "whole")
    child = stage.delegate(parent, "boss.helper")
    answer = asking.ask(shown(child.der))
    assert answer.headers["x-agent-act"] == '{"sub":"spiffe://agents.example/agent/acme/boss"}'
    stage.revoke(parent)
    assert asking.error(shown(child.der)) == (403, "delegation_revoked")


def test_a_tool_that_the_task_does_not_have_is_403(stage: Stage, asking: Asking, agent: Issued) -> None:
    mine = shown(agent.der)
    assert asking.error({**mine, **READ, "Mcp-Name": "write_file"}) == (403, "tool_out_of_scope")
    assert asking.error({**mine, "Mcp-Method": "tools/list"}) == (403, "tool_out_of_scope")
    assert asking.error(mine) == (403, "tool_out_of_scope")
    assert asking.ask({**mine, **READ, "Mcp-Name": "=?base64?cmVhZF9maWxl?="}).status_code == 200
    twice = [*mine.items(), *READ.items(), ("Mcp-Name", "write_file")]
    assert asking.error(twice) == (403, "call_malformed")


def test_a_certificate_that_was_narrowed_to_no_details_calls_nothing(stage: Stage, asking: Asking) -> None:
    stage.task("gated", resources=(RESOURCE,), details=DETAILS)
    one = stage.enrol(stage.token(task="gated"), asked=Asked(details=NO_DETAILS))
    assert asking.error({**shown(one.der), **READ}) == (403, "tool_out_of_scope")


def test_what_cannot_be_decided_is_no_and_says_so(
    stage: Stage, asking: Asking, agent: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario 26: the proxy refuses, and whoever asked may try again."""
    fields = {**shown(agent.der), **READ}
    whole = stage.database.read

    def away(*_: object) -> None:
        raise OSError("the database is away")

    monkeypatch.setattr(stage.database, "read", away)
    answer = asking.ask(fields)
    assert (answer.status_code, answer.headers["x-agent-error"]) == (403, "undecided")
    assert answer.headers["retry-after"] == "1"
    monkeypatch.setattr(stage.database, "read", whole)
    assert asking.ask(fields).status_code == 200

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("ca.policy.calls.permits", broken)
    assert asking.error(fields) == (403, "undecided")
