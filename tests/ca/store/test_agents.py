from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from ca.identifiers import AgentId, TenantId
from ca.policy.ceiling import AgentState
from ca.policy.scope import Scope
from ca.refusals import Reason, Refused
from ca.store import agents
from ca.store.agents import AgentRecord
from ca.store.transaction import Database
from tests.ca.store.rows import AGENT, TENANT, agent, written


def added(database: Database, *records: AgentRecord) -> None:
    for record in records:
        written(database, lambda connection, record=record: agents.add(connection, record))


@pytest.mark.parametrize(
    "record",
    [agent(), agent(max_lifetime=None, ceiling=Scope(), max_depth=0), agent(state=AgentState.SUSPENDED)],
    ids=["full", "least", "suspended"],
)
def test_an_agent_comes_back_as_it_was(database: Database, record: AgentRecord) -> None:
    added(database, record)
    with database.read() as connection:
        assert agents.find(connection, TENANT, AGENT) == record


def test_an_agent_is_of_its_tenant(database: Database) -> None:
    added(database, agent(), agent(tenant="other"))
    with database.read() as connection:
        assert agents.find(connection, TenantId("third"), AGENT) is None
        found = agents.find(connection, TenantId("other"), AGENT)
    assert found is not None
    assert found.agent.tenant == "other"


def test_a_name_is_taken_once(database: Database) -> None:
    added(database, agent())
    with pytest.raises(Refused) as caught:
        added(database, agent())
    assert caught.value.reason is Reason.CONFLICT


def test_replacing_changes_one_agents_ceiling_and_state(database: Database) -> None:
    added(database, agent(), agent("other"))
    changed = replace(
        agent().agent,
        state=AgentState.SUSPENDED,
        ceiling=Scope.parse("x"),
        max_lifetime=timedelta(seconds=90),
        max_depth=1,
    )
    written(database, lambda connection: agents.replace(connection, replace(agent(), agent=changed)))
    with database.read() as connection:
        assert agents.find(connection, TENANT, AGENT) == replace(agent(), agent=changed)
        assert agents.find(connection, TENANT, AgentId("other")) == agent("other")


def test_pages_give_every_agent_once(database: Database) -> None:
    names = [("acme", "a"), ("acme", "b"), ("acme", "b-1"), ("b", "a"), ("b", "z")]
    added(database, *(agent(name, tenant) for tenant, name in reversed(names)))
    found, after = [], None
    with database.read() as connection:
        while page := agents.page(connection, None, after, 2):
            found += [(one.agent.tenant, one.agent.id) for one in page]
            after = f"{page[-1].agent.tenant}/{page[-1].agent.id}"
        assert [one.agent.id for one in agents.page(connection, TENANT, None, 10)] == ["a", "b", "b-1"]
    assert found == names
