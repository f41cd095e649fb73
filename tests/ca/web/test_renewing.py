"""Renewal and delegation over mutual TLS, as agents see them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from cryptography import x509

from tests.holder import Holder, enrolled, held
from tests.world import World, key_and_csr

RENEW, DELEGATE = "/v1/certificates/renew", "/v1/certificates/delegate"


def problem(answer: httpx2.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["type"]).rpartition("/")[2].rpartition(":")[2]


def leaf(one: Holder) -> x509.Certificate:
    return x509.load_pem_x509_certificates(one.answer["chain"].encode())[0]


@pytest.fixture
def agent(world: World) -> Iterator[Holder]:
    yield enrolled(world, max_depth=2)


def test_renewed_three_times_an_agent_is_the_same(agent: Holder) -> None:
    """Scenario 1: subject and SAN are stable."""
    names, one = set(), agent
    for _ in range(4):
        san = leaf(one).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names.add((leaf(one).subject, tuple(san), one.answer["client_id"], one.answer["task"], one.answer["scope"]))
        answer, following = one.post(RENEW)
        assert following is not None, answer.text
        one = following
    assert len(names) == 1
    assert agent.post(RENEW)[1] is not None, "the old one serves beside the new one"


def test_a_renewal_takes_a_bare_csr_and_gives_a_bare_chain(agent: Holder) -> None:
    _, csr = key_and_csr()
    headers = {"Content-Type": "application/pkcs10", "Accept": "application/pem-certificate-chain"}
    with agent.world.client(agent.directory) as client:
        answer = client.post(RENEW, content=csr, headers=headers)
    assert answer.status_code == 201
    assert len(x509.load_pem_x509_certificates(answer.content)) == 2
    assert answer.headers["cache-control"] == "no-store"


def test_a_repeated_renewal_gets_the_same_certificate(agent: Holder) -> None:
    _, csr = key_and_csr()
    with agent.world.client(agent.directory) as client:
        said = {"json": {"csr": csr.decode()}, "headers": {"Idempotency-Key": '"again"'}}
        first, second = client.post(RENEW, **said), client.post(RENEW, **said)
        other = client.post(DELEGATE, **said)
    assert first.json()["serial"] == second.json()["serial"]
    assert problem(other) == "idempotency-mismatch"


@pytest.mark.parametrize("path", [RENEW, DELEGATE])
def test_without_a_certificate_nobody_is_renewed_or_delegates(world: World, path: str) -> None:
    with world.client() as stranger:
        answer = stranger.post(path, json={"csr": key_and_csr()[1].decode()})
    assert (answer.status_code, problem(answer)) == (401, "unauthenticated")


@pytest.mark.parametrize("path", [RENEW, DELEGATE])
def test_an_operators_certificate_is_no_agents(world: World, path: str) -> None:
    with world.operator() as operator:
        answer = operator.post(path, json={"csr": key_and_csr()[1].decode()})
    assert (answer.status_code, problem(answer)) == (401, "unauthenticated")


@pytest.mark.parametrize("act", ["revoke", "hold"])
def test_case_37_a_certificate_that_was_stopped_is_refused_on_the_connection_that_it_opened(
    agent: Holder, act: str
) -> None:
    """The handshake verified it; whether it stands is asked at every request."""
    _, csr = key_and_csr()
    body = {"csr": csr.decode()}
    with agent.world.client(agent.directory) as client, agent.world.operator() as operator:
        assert client.post(RENEW, json=body).status_code == 201
        json = {"reason": "unspecified"} if act == "revoke" else None
        assert operator.post(f"/v1/certificates/{agent.answer['serial']}/{act}", json=json).status_code == 200
        answer = client.post(RENEW, json=body)
    assert (answer.status_code, problem(answer)) == (401, "unauthenticated")


def test_case_37_another_agents_name_is_refused(agent: Holder) -> None:
    other = enrolled(agent.world)
    _, csr = key_and_csr(leaf(other).subject.rfc4514_string())
    with agent.world.client(agent.directory) as client:
        answer = client.post(RENEW, json={"csr": csr.decode()})
    assert (answer.status_code, problem(answer)) == (400, "csr-identity")


@pytest.mark.parametrize("body", [{"task": "t"}, {"agent": "a"}, {"max_depth": 1}])
def test_a_renewal_takes_nothing_that_would_make_it_somebody_elses(agent: Holder, body: dict[str, Any]) -> None:
    answer, _ = agent.post(RENEW, **body)
    assert (answer.status_code, problem(answer)) == (400, "malformed")


def test_scenario_17_a_child_has_less_and_goes_with_its_parent(agent: Holder) -> None:
    for wrong, expected in (
        ({"scope": "read admin"}, "scope-exceeded"),
        ({"resources": ["https://b.example"]}, "resource-exceeded"),
        ({"not_after": "2099-01-01T00:00:00Z"}, "lifetime-refused"),
        ({"max_depth": 2}, "depth-exceeded"),
        ({"agent": "somebody"}, "forbidden"),
    ):
        answer, _ = agent.post(DELEGATE, **wrong)
        assert problem(answer) == expected
    answer, child = agent.post(DELEGATE, scope="read")
    assert child is not None, answer.text
    assert (child.answer["scope"], child.answer["task"]) == ("read", agent.answer["task"])
    assert leaf(child).not_valid_after_utc <= leaf(agent).not_valid_after_utc
    _, grandchild = child.post(DELEGATE)
    assert grandchild is not None
    assert problem(grandchild.post(DELEGATE)[0]) == "depth-exceeded"
    with agent.world.operator() as operator:
        revoked = operator.post(f"/v1/certificates/{agent.answer['serial']}/revoke", json={"reason": "superseded"})
        assert revoked.status_code == 200
    for one in (child, grandchild):
        assert problem(one.post(RENEW)[0]) == "unauthenticated"


def test_scenario_11_nothing_outlives_its_task(world: World) -> None:
    name = world.new_agent(max_depth=1)
    deadline = world.soon(minutes=2)
    key, csr = key_and_csr()
    answer = world.post_csr(world.token(name, task=world.new_task(name, deadline=deadline)), csr)
    one = held(world, key, answer)
    assert one.answer["not_after"] <= deadline
    for path in (RENEW, DELEGATE):
        _, following = one.post(path)
        assert following is not None
        assert following.answer["not_after"] <= deadline


def test_a_task_is_narrowed_and_never_widened(world: World) -> None:
    one = enrolled(world)
    path = f"/v1/tasks/{one.answer['task']}"
    with world.operator() as operator:
        narrowed = operator.patch(path, json={"scope": "read", "resources": []})
        assert (narrowed.json()["scope"], narrowed.json()["resources"]) == ("read", [])
        assert problem(operator.patch(path, json={"scope": "read write"})) == "scope-exceeded"
        assert problem(operator.patch(path, json={"deadline": "2099-01-01T00:00:00Z"})) == "lifetime-refused"
    answer, following = one.post(RENEW)
    assert following is not None, answer.text
    assert (following.answer["scope"], following.answer["resources"]) == ("read", [])


def test_a_live_certificate_enrols_its_agent_for_a_task(world: World) -> None:
    name = world.new_agent(scope="read")
    key, csr = key_and_csr()
    idle = held(world, key, world.post_csr(world.token(name), csr))
    task = world.new_task(name, scope="read")
    answer, working = idle.post("/v1/certificates", task=task)
    assert working is not None, answer.text
    assert (working.answer["task"], working.answer["scope"]) == (task, "read")
