from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pytest

from ca.authority import agents
from ca.identifiers import AgentId, TenantId
from ca.policy.ceiling import AgentState
from ca.policy.scope import Scope
from ca.refusals import Reason, Refused
from ca.store.agents import AgentRecord, Identity
from ca.store.transaction import Database
from tests.ca.authority.stage import AGENT, TENANT, Stage


def found(stage: Stage, tenant: TenantId = TENANT) -> AgentRecord:
    with stage.database.read() as connection:
        return agents.require(connection, tenant, AGENT)


def test_an_agent_is_registered_and_audited(stage: Stage) -> None:
    agent = stage.agent()
    assert found(stage) == AgentRecord(agent, "", stage.clock().replace(microsecond=0))
    [entry] = stage.audited("agent.add")
    assert (entry.actor, entry.tenant, entry.agent) == ("ops", TENANT, AGENT)
    nothing = dict.fromkeys(("max_lifetime", "parent", "identity"))
    assert entry.detail == {"scope": "read write", "max_depth": 0, "state": "active", **nothing}


def test_a_name_is_taken_once_in_a_tenant(stage: Stage) -> None:
    stage.agent()
    stage.agent(tenant="other")
    with pytest.raises(Refused) as caught:
        stage.agent(scope="admin")
    assert caught.value.reason is Reason.CONFLICT
    assert found(stage).agent.ceiling == Scope.parse("read write")
    assert len(stage.audited("agent.add")) == 2


def test_suspending_and_resuming(stage: Stage) -> None:
    stage.agent()
    stage.agent(tenant="other")
    assert agents.suspend(stage.authority, TENANT, AGENT, "ops").agent.state is AgentState.SUSPENDED
    assert found(stage).agent.state is AgentState.SUSPENDED
    assert found(stage, TenantId("other")).agent.state is AgentState.ACTIVE
    assert agents.resume(stage.authority, TENANT, AGENT, "ops").agent.state is AgentState.ACTIVE
    assert found(stage).agent.state is AgentState.ACTIVE
    assert len(stage.audited("agent.suspend")) == len(stage.audited("agent.resume")) == 1


def test_changing_a_ceiling_keeps_the_rest(stage: Stage) -> None:
    stage.agent()
    before = found(stage)
    narrower = replace(before.agent, ceiling=Scope.parse("x"))
    agents.change(stage.authority, TENANT, AGENT, lambda it: replace(it, agent=narrower), "agent.update", "ops")
    after = found(stage)
    assert after == replace(before, agent=replace(before.agent, ceiling=Scope.parse("x")))
    [entry] = stage.audited("agent.update")
    assert (entry.detail["scope"], entry.detail["before"]) == ("x", {"scope": "read write"})


def test_the_log_says_which_identity_became_which(stage: Stage) -> None:
    stage.agent()
    alice, bob = (Identity("https://idp.example", name) for name in ("alice", "bob"))
    for identity in (alice, bob, None):
        edit = partial(replace, identity=identity)
        agents.change(stage.authority, TENANT, AGENT, edit, "agent.change", "ops")
    told = [(entry.detail["before"], entry.detail["identity"]) for entry in stage.audited("agent.change")]
    assert told == [
        ({"identity": None}, asdict(alice)),
        ({"identity": asdict(alice)}, asdict(bob)),
        ({"identity": asdict(bob)}, None),
    ]


@pytest.mark.parametrize("act", [agents.suspend, agents.resume])
def test_an_agent_that_is_not_there_is_not_found(stage: Stage, act: object) -> None:
    stage.agent()
    for tenant, name in ((TENANT, AgentId("other")), (TenantId("other"), AGENT)):
        with pytest.raises(Refused) as caught:
            act(stage.authority, tenant, name, "ops")  # type: ignore[operator]
        assert caught.value.reason is Reason.NOT_FOUND
    assert stage.audited("agent.suspend") == []


def test_of_two_changes_at_once_none_is_lost(database_url: str, tmp_path: Path) -> None:
    """A suspension beside a change of the ceiling: who reads to change waits for whoever did before."""
    stage = Stage(tmp_path, database_url)
    stage.agent()
    other = Database(database_url)
    replica = stage.over(other)
    begun, go = threading.Event(), threading.Event()

    def slowly(record: AgentRecord) -> AgentRecord:
        begun.set()
        assert go.wait(10)
        return replace(record, agent=replace(record.agent, max_depth=5))

    with ThreadPoolExecutor() as pool:
        changing = pool.submit(agents.change, stage.authority, TENANT, AGENT, slowly, "agent.change", "ops")
        assert begun.wait(10)
        suspending = pool.submit(agents.suspend, replica, TENANT, AGENT, "ops")
        assert wait([suspending], timeout=0.3).not_done
        go.set()
        changing.result(10)
        suspending.result(10)
    assert (found(stage).agent.state, found(stage).agent.max_depth) == (AgentState.SUSPENDED, 5)
    replica.close()
    other.close()
    stage.close()
