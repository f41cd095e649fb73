"""Renewals, delegations and what outside providers attest: decided with enrolments, on what stands at that moment."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from sqlalchemy import text

from ca.authority import agents, desk, hold, revoke, tasks
from ca.authority.claims import Application, ByAttestation, ByCertificate, ByToken, Delegation, Renewal
from ca.authority.issuance import Decision, Denied, Issued
from ca.identifiers import AgentId, TaskId, Thumbprint
from ca.pki.extensions import AgentDelegation, AgentTask, carried
from ca.policy.ceiling import Asked, TaskState
from ca.policy.details import Details
from ca.policy.reach import Narrower
from ca.policy.rules import Rules
from ca.policy.scope import Scope
from ca.proofs.providers import Attested
from ca.refusals import Reason, Refused
from ca.store import agents as registry
from ca.store import spent_proofs
from ca.store.agents import Identity
from ca.store.filters import Filter
from tests.ca.authority.stage import AGENT, NAMES, TASK, TENANT, Key, Stage, new_key, request, run

PAY = [{"type": "pay", "actions": ["read", "write"]}, {"type": "mail"}]
RESOURCES = ("https://a.example", "https://b.example")
BOB = Identity("https://idp.example", "bob")


def remit_of(issued: Issued) -> tuple[AgentTask | None, AgentDelegation | None]:
    return carried(issued.der, NAMES.oid_arc)


def scope_of(issued: Issued) -> str | None:
    task = remit_of(issued)[0]
    return task.scope if task else None


def lineage_of(issued: Issued) -> AgentDelegation:
    found = remit_of(issued)[1]
    assert found is not None
    return found


def refusal(stage: Stage, claim: object, asked: Asked = Asked(), key: Key | None = None) -> Reason:  # noqa: B008 (frozen)
    with pytest.raises(Refused) as caught:
        stage.apply(claim, key, asked)  # type: ignore[arg-type] # any of the claims
    return caught.value.reason


def narrow(stage: Stage, asked: Narrower) -> None:
    tasks.narrow(stage.authority, TENANT, TASK, asked, None, "ops")


def widened(stage: Stage, agent: str, max_depth: int) -> None:
    agents.change(
        stage.authority,
        TENANT,
        AgentId(agent),
        lambda it: replace(it, agent=replace(it.agent, max_depth=max_depth)),
        "agent.change",
        "ops",
    )


@pytest.fixture
def planner(stage: Stage) -> Stage:
    """An agent that may delegate twice, and its task."""
    stage.agent("planner", max_depth=2)
    stage.task(agent="planner", scope="read write", resources=RESOURCES, details=PAY)
    return stage


# Renewal.


def test_a_renewal_has_the_same_identity_task_and_reach(ready: Stage) -> None:
    first = ready.enrolled()
    ready.clock.forward(minutes=8)
    second = ready.renew(first)
    assert (second.intent.tenant, second.intent.holder, second.intent.task) == (TENANT, AGENT, TASK)
    assert remit_of(second) == remit_of(first)
    assert second.intent.not_after == first.intent.not_after + timedelta(minutes=8)
    assert ready.record(first).state(ready.clock()) == "live", "the old one serves to its end"
    third = ready.renew(second)
    assert first.intent.line is None
    assert second.intent.line == third.intent.line == first.intent.serial


def test_a_renewal_may_keep_its_key_or_not(ready: Stage) -> None:
    key = new_key()
    first = ready.enrol(ready.token(), key)
    assert ready.renew(first, key).intent.key == first.intent.key
    assert ready.renew(first).intent.key != first.intent.key


def test_a_renewal_may_ask_for_less_and_its_next_for_no_more(ready: Stage) -> None:
    ready.task("wide", scope="read write")
    first = ready.enrolled(task="wide")
    second = ready.renew(first, asked=Asked(scope=Scope.parse("read")))
    assert scope_of(second) == "read"
    assert scope_of(ready.renew(second)) == "read"
    assert refusal(ready, Renewal(second.x5t), Asked(scope=Scope.parse("write"))) is Reason.SCOPE_EXCEEDED


@pytest.mark.parametrize("end", ["revoked", "held", "expired", "suspended", "task ended", "unknown"])
def test_what_does_not_stand_is_not_renewed(ready: Stage, end: str) -> None:
    first = ready.enrolled()
    claim, expected = Renewal(first.x5t), Reason.UNAUTHENTICATED
    match end:
        case "revoked":
            ready.revoke(first)
        case "held":
            hold.hold(ready.authority, first.intent.serial, "ops")
        case "expired":
            ready.clock.forward(minutes=16)
        case "suspended":
            agents.suspend(ready.authority, TENANT, AGENT, "ops")
            expected = Reason.AGENT_SUSPENDED
        case "task ended":
            # Its end revokes the certificate, so only a race would find it live; here the deadline passed unnoticed.
            ready.task("brief", deadline=ready.clock() + timedelta(minutes=2))
            brief = ready.enrolled(task="brief")
            ready.clock.forward(minutes=3)
            claim = Renewal(brief.x5t)
        case "unknown":
            claim = Renewal(Thumbprint.of(b"nobody's"))
    ready.signer.signed.clear()
    assert refusal(ready, claim) is expected
    assert not ready.signer.signed


def test_another_agents_csr_is_not_certified_by_a_renewal(ready: Stage) -> None:
    first = ready.enrolled()
    ready.agent("other")
    other = x509.Name.from_rfc4514_string("CN=other,OU=acme,O=Remit")
    with pytest.raises(Refused) as caught:
        run(desk.apply(ready.authority, Application(Renewal(first.x5t), request(new_key(), subject=other), Asked())))
    assert caught.value.reason is Reason.CSR_IDENTITY


def test_what_was_taken_from_the_task_is_gone_at_the_next_renewal(planner: Stage) -> None:
    first = planner.enrolled("planner")
    read = [{"type": "pay", "actions": ["read"]}]
    narrow(planner, Narrower(Scope.parse("read"), ("https://a.example",), Details.of(read)))
    task, _ = remit_of(planner.renew(first))
    assert task is not None
    assert (task.scope, task.resources) == ("read", ("https://a.example",))
    assert task.details_sha256 == Details.of(read).digest


def test_an_operators_certificate_is_no_agents(ready: Stage) -> None:
    assert refusal(ready, Renewal(Thumbprint.of(b"x"))) is Reason.UNAUTHENTICATED


# A live certificate as a proof.


def test_a_certificate_without_a_task_takes_up_one_of_its_agents(ready: Stage) -> None:
    idle = ready.enrolled(task=None)
    working = ready.apply(ByCertificate(idle.x5t), asked=Asked(task=TASK))
    assert (working.intent.task, scope_of(working)) == (TASK, "read")
    assert ready.apply(ByCertificate(idle.x5t)).intent.task is None


def test_a_certificate_never_takes_up_another_task(ready: Stage) -> None:
    ready.task("other")
    ready.agent("neighbour")
    ready.task("theirs", agent="neighbour")
    working, idle = ready.enrolled(), ready.enrolled(task=None)
    theirs = Asked(task=TaskId("theirs"))
    assert refusal(ready, ByCertificate(working.x5t), Asked(task=TaskId("other"))) is Reason.FORBIDDEN
    assert refusal(ready, ByCertificate(idle.x5t), theirs) is Reason.FORBIDDEN


# Delegation.


def test_a_child_has_its_parents_remit_and_a_place_in_the_lineage(planner: Stage) -> None:
    parent = planner.enrolled("planner")
    child = planner.delegate(parent, "planner.one")
    assert (child.intent.holder, child.intent.task, child.intent.parent) == ("planner.one", TASK, parent.intent.serial)
    assert remit_of(child)[0] == remit_of(parent)[0]
    assert child.intent.not_after <= parent.intent.not_after
    assert lineage_of(child) == AgentDelegation(1, 2, parent.x5t, parent.x5t)
    grandchild = planner.delegate(child, asked=Asked(scope=Scope.parse("read")))
    assert grandchild.intent.holder.startswith("planner.one.")
    assert lineage_of(grandchild) == AgentDelegation(2, 2, child.x5t, parent.x5t)
    assert refusal(planner, Delegation(grandchild.x5t, None, b"12345")) is Reason.DEPTH_EXCEEDED
    [entry] = [one for one in planner.audited("certificate.intend") if one.agent == "planner.one"]
    assert entry.actor == f"spiffe://{NAMES.trust_domain}/agent/{TENANT}/planner"
    [_, first, second] = planner.audited("agent.add")
    assert (first.agent, first.actor, first.detail["parent"]) == ("planner.one", entry.actor, "planner")
    assert second.detail["parent"] == "planner.one"


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (Asked(scope=Scope.parse("read admin")), Reason.SCOPE_EXCEEDED),
        (Asked(resources=("https://c.example",)), Reason.RESOURCE_EXCEEDED),
        (Asked(details=Details.of([{"type": "pay"}])), Reason.DETAILS_EXCEEDED),
        (Asked(levels=2), Reason.DEPTH_EXCEEDED),
    ],
)
def test_a_child_never_has_more(planner: Stage, asked: Asked, reason: Reason) -> None:
    parent = planner.enrolled("planner")
    planner.signer.signed.clear()
    assert refusal(planner, Delegation(parent.x5t, None, b"12345"), asked) is reason
    assert not planner.signer.signed
    with planner.database.read() as connection:
        assert len(registry.page(connection, TENANT, None, 10)) == 1, "nor is a child registered that has nothing"


def test_a_child_never_lives_longer(planner: Stage) -> None:
    parent = planner.enrolled("planner")
    later = parent.intent.not_after + timedelta(seconds=1)
    assert refusal(planner, Delegation(parent.x5t, None, b"12345"), Asked(not_after=later)) is Reason.LIFETIME_REFUSED
    planner.clock.forward(minutes=10)
    assert planner.delegate(parent).intent.not_after == parent.intent.not_after


def test_a_narrower_childs_details_are_found_again(planner: Stage) -> None:
    read = Details.of([{"type": "pay", "actions": ["read"]}])
    child = planner.delegate(planner.enrolled("planner"), "planner.one", Asked(details=read, resources=()))
    task, _ = remit_of(child)
    assert task is not None
    assert (task.details_sha256, task.resources) == (read.digest, ())
    again, _ = remit_of(planner.renew(child))
    assert again == task
    below = Delegation(child.x5t, None, b"12345")
    assert refusal(planner, below, Asked(details=Details.of(PAY))) is Reason.DETAILS_EXCEEDED


def test_a_childs_name_is_its_parents_to_give(planner: Stage) -> None:
    parent = planner.enrolled("planner")
    planner.agent("planner.registered")
    for name in ("worker", "planner.registered", "other.one", "planner.prod.one", "planner."):
        assert refusal(planner, Delegation(parent.x5t, AgentId(name), b"")) is Reason.FORBIDDEN


def test_a_parent_whose_name_leaves_no_room_gives_one_itself_and_fails_nobody_elses(planner: Stage) -> None:
    long = planner.agent("p" * 60, max_depth=1).id
    parent, other = planner.enrolled(long, task=None), planner.enrolled("planner")
    work = [
        Application(claim, request(new_key()), Asked())
        for claim in (Delegation(parent.x5t, None, b"12345"), Renewal(other.x5t))
    ]
    with planner.database.read() as connection:
        refused, granted = desk.decide(planner.authority, connection, work, planner.clock())
    assert isinstance(refused, Denied)
    assert refused.refusal.reason is Reason.MALFORMED
    assert isinstance(granted, Decision)
    assert planner.delegate(parent, f"{long}.a").intent.holder == f"{long}.a"


def test_a_child_is_certified_by_its_parent_alone(planner: Stage) -> None:
    """A token or an identity of its own would give it certificates that end with nobody's."""
    planner.delegate(planner.enrolled("planner"), "planner.one")
    child = AgentId("planner.one")
    with pytest.raises(Refused) as caught:
        planner.token(child, task=None)
    assert caught.value.reason is Reason.CONFLICT
    with pytest.raises(Refused) as caught:
        agents.change(planner.authority, TENANT, child, lambda it: replace(it, identity=BOB), "agent.change", "ops")
    assert caught.value.reason is Reason.CONFLICT


def test_a_token_that_is_older_than_the_child_of_its_name_certifies_nobody(planner: Stage) -> None:
    """As it may be in a database that an older version wrote."""
    planner.agent("planner.one")
    old = planner.token("planner.one", task=None)
    made = text("UPDATE agents SET parent = 'planner' WHERE id = 'planner.one'")
    planner.database.write(lambda connection: connection.execute(made)).result()
    assert refusal(planner, ByToken(old)) is Reason.TOKEN_INVALID


def test_a_child_whose_lineage_cannot_be_read_is_not_renewed(planner: Stage) -> None:
    """Under another arc its certificate says nothing; without its parent's bounds it would be a grandparent's equal."""
    child = planner.delegate(planner.enrolled("planner"))
    elsewhere = planner.over(planner.database, names=replace(NAMES, oid_arc="1.3.6.1.4.1.32473.9"))
    with pytest.raises(Refused) as caught:
        run(desk.apply(elsewhere, Application(Renewal(child.x5t), request(new_key()), Asked())))
    elsewhere.close()
    assert caught.value.reason is Reason.DELEGATION_ENDED


def test_a_child_is_delegated_to_again_under_its_name(planner: Stage) -> None:
    parent = planner.enrolled("planner")
    first, second = planner.delegate(parent, "planner.one"), planner.delegate(parent, "planner.one")
    assert first.intent.serial != second.intent.serial
    agents.suspend(planner.authority, TENANT, AgentId("planner.one"), "ops")
    assert refusal(planner, Delegation(parent.x5t, AgentId("planner.one"), b"")) is Reason.AGENT_SUSPENDED


def test_a_child_is_renewed_within_its_parents_newest(planner: Stage) -> None:
    parent = planner.enrolled("planner")
    child = planner.delegate(parent, "planner.one")
    planner.clock.forward(minutes=8)
    assert planner.renew(child).intent.not_after == parent.intent.not_after
    newer = planner.renew(parent)
    renewed = planner.renew(child)
    assert renewed.intent.not_after == newer.intent.not_after
    assert renewed.intent.parent == newer.intent.serial
    assert lineage_of(renewed) == AgentDelegation(1, 2, newer.x5t, parent.x5t)


def test_a_child_is_not_renewed_once_its_parent_is_gone_or_stopped(planner: Stage) -> None:
    parent = planner.enrolled("planner")
    child = planner.delegate(parent, "planner.one")
    hold.hold(planner.authority, parent.intent.serial, "ops")
    assert refusal(planner, Renewal(child.x5t)) is Reason.DELEGATION_ENDED
    hold.release(planner.authority, parent.intent.serial, "ops")
    assert planner.renew(child)
    agents.suspend(planner.authority, TENANT, AgentId("planner"), "ops")
    assert refusal(planner, Renewal(child.x5t)) is Reason.AGENT_SUSPENDED


def test_what_the_parents_agent_lost_its_childs_renewal_loses(planner: Stage) -> None:
    child = planner.delegate(planner.enrolled("planner"), "planner.one")
    agents.change(
        planner.authority,
        TENANT,
        AgentId("planner"),
        lambda it: replace(it, agent=replace(it.agent, ceiling=Scope.parse("read"))),
        "agent.change",
        "ops",
    )
    assert scope_of(planner.renew(child)) == "read"
    widened(planner, "planner", 0)
    assert refusal(planner, Renewal(child.x5t)) is Reason.DEPTH_EXCEEDED


@pytest.mark.parametrize("end", ["serial", "agent", "task"])
def test_the_end_of_a_parent_reaches_every_descendant_at_once(planner: Stage, end: str) -> None:
    parent = planner.enrolled("planner")
    child = planner.delegate(parent, "planner.one")
    grandchild = planner.delegate(child)
    match end:
        case "serial":
            planner.revoke(parent)
        case "agent":
            wanted = Filter(tenant=TENANT, holder="planner")
            revoke.revoke_many(planner.authority, wanted, x509.ReasonFlags.privilege_withdrawn, "ops", dry_run=False)
        case "task":
            tasks.end(planner.authority, TENANT, TASK, TaskState.COMPLETED, "ops")
    states = [planner.record(one).state(planner.clock()) for one in (parent, child, grandchild)]
    assert states == ["revoked"] * 3
    assert len({planner.record(one).revoked_at for one in (parent, child, grandchild)}) == 1
    assert refusal(planner, Delegation(parent.x5t, None, b"12345")) is Reason.UNAUTHENTICATED
    assert refusal(planner, Renewal(grandchild.x5t)) is Reason.UNAUTHENTICATED


# What others attest.


def attested(stage: Stage, **changes: object) -> ByAttestation:
    made = Attested("idp", BOB.issuer, BOB.subject, stage.clock() + timedelta(minutes=5))
    return ByAttestation(replace(made, **changes))  # type: ignore[arg-type] # the fields of an Attested


@pytest.fixture
def bob(stage: Stage) -> Stage:
    """An agent with an identity elsewhere, and a task of its own; and another's."""
    stage.agent(identity=BOB)
    stage.task()
    stage.agent("other")
    stage.task("theirs", agent="other")
    return stage


def test_an_issuers_subject_is_the_agent_that_it_was_registered_for(bob: Stage) -> None:
    issued = bob.apply(attested(bob))
    assert (issued.intent.holder, issued.intent.task) == (AGENT, None)
    assert bob.apply(attested(bob), asked=Asked(task=TASK)).intent.task == TASK
    [entry, _] = bob.audited("certificate.intend")
    assert entry.detail["asking"]["proof"] == "idp"


def test_the_log_says_by_whose_word_an_agent_was_enrolled_or_refused(bob: Stage) -> None:
    shown = attested(bob, extra={"jti": "4711"})
    bob.apply(shown)
    assert refusal(bob, shown, Asked(scope=Scope.parse("admin"))) is Reason.SCOPE_EXCEEDED
    [granted], [refused] = bob.audited("certificate.intend"), bob.audited("certificate.enrol")
    for entry in (granted, refused):
        assert entry.detail["attested"] == {"issuer": BOB.issuer, "subject": BOB.subject, "jti": "4711"}
    assert "attested" not in bob.audited("agent.add")[0].detail


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "alice"},
        {"subject": "Bob"},
        {"issuer": "https://idp.example/"},
        {"key": Thumbprint.of(b"another key")},
    ],
)
def test_nobody_else_is(bob: Stage, changes: dict[str, object]) -> None:
    assert refusal(bob, attested(bob, **changes)) is Reason.TOKEN_INVALID


def test_another_agents_task_is_refused_as_one_that_is_not_there(bob: Stage) -> None:
    for name in ("theirs", "nobody-s"):
        assert refusal(bob, attested(bob), Asked(task=TaskId(name))) is Reason.FORBIDDEN


def test_what_may_be_used_once_is(bob: Stage) -> None:
    once = attested(bob, once=Thumbprint.of(b"jti"))
    assert bob.apply(once)
    assert refusal(bob, once) is Reason.TOKEN_INVALID
    bob.clock.forward(minutes=5)
    assert refusal(bob, attested(bob, once=Thumbprint.of(b"jti"), expires=bob.clock())) is Reason.TOKEN_INVALID


def test_what_was_refused_is_not_spent(bob: Stage) -> None:
    once = attested(bob, once=Thumbprint.of(b"jti"))
    assert refusal(bob, once, Asked(scope=Scope.parse("admin"))) is Reason.SCOPE_EXCEEDED
    assert bob.apply(once)


def test_what_was_spent_is_forgotten_once_it_would_have_expired(bob: Stage) -> None:
    bob.apply(attested(bob, once=Thumbprint.of(b"jti")))
    bob.clock.forward(minutes=6)
    forgotten = bob.database.write(lambda connection: spent_proofs.forget(connection, bob.clock())).result()
    assert forgotten == 1


def test_a_name_beside_a_proof_is_its_agents_or_nothing_is_proven(bob: Stage) -> None:
    def named(name: str) -> Issued:
        claim = attested(bob, once=Thumbprint.of(b"jti"))
        application = Application(claim, request(new_key()), Asked(), named=AgentId(name))
        return run(desk.apply(bob.authority, application))

    with pytest.raises(Refused) as caught:
        named("other")
    assert caught.value.reason is Reason.TOKEN_INVALID
    assert named(AGENT).intent.holder == AGENT, "it was not spent"


def test_an_identity_is_one_agents(bob: Stage) -> None:
    with pytest.raises(Refused) as caught:
        bob.agent("impostor", identity=BOB)
    assert caught.value.reason is Reason.CONFLICT


# What is decided on together.


def test_marks_of_different_kinds_are_never_the_same(bob: Stage) -> None:
    """Or a child's name, a stranger's idempotency key and a token would keep each other out of a batch."""
    made = request(new_key())
    same, name = made.key_thumbprint, AgentId("planner.one")
    claims = [
        ByToken(same),
        attested(bob, once=same),
        Delegation(same, name, b""),
        Delegation(same, None, name.encode()),
    ]
    applications = [Application(claim, made, Asked(), str(name)) for claim in claims]
    kinds = [set(desk.marks(one)) for one in applications]
    assert [len(marks) for marks in kinds] == [3] * 4
    shared = set.intersection(*kinds)
    assert len(shared) == 2, "the key and the idempotency key, which they do share"
    assert len(set.union(*kinds) - shared) == 4
    assert all(any(mark.startswith(word) for word in WORDS) for mark in set.union(*kinds))


WORDS = (b"token ", b"proof ", b"child ", b"nameless ", b"key ", b"again ")


# The operator's rules.

RULES = Rules.parse("""
@id("no-writers") forbid(principal, action, resource) when { context.scope.contains("write") };
@id("short") @longest("2m") forbid(principal, action == Action::"delegate", resource)
    when { context.lifetime > duration("2m") };
""")


def test_what_the_rules_deny_is_not_signed_and_the_log_says_by_which(planner: Stage) -> None:
    strict = replace(planner.authority, rules=RULES)
    wanted = Application(ByToken(planner.token("planner")), request(new_key()), Asked())
    planner.signer.signed.clear()
    with pytest.raises(Refused) as caught:
        run(desk.apply(strict, wanted))
    strict.close()
    assert caught.value.reason is Reason.POLICY_DENIED
    assert not planner.signer.signed
    [entry] = planner.audited("certificate.enrol")
    assert (entry.decision, entry.detail["policy"]) == ("refused", ["no-writers"])
    assert entry.detail["asking"]["scope"] == "read write"
    assert planner.apply(wanted.claim), "a refusal spends nothing"


def test_what_the_rules_shorten_is_shorter(planner: Stage) -> None:
    strict = replace(planner.authority, rules=RULES)
    parent = planner.enrolled("planner")
    narrower = Asked(scope=Scope.parse("read"))
    child = run(desk.apply(strict, Application(Delegation(parent.x5t, None, b"12345"), request(new_key()), narrower)))
    strict.close()
    assert child.intent.not_after == child.intent.created_at + timedelta(seconds=119)
    [entry] = [one for one in planner.audited("certificate.intend") if one.agent == child.intent.holder]
    assert (entry.detail["policy"], entry.detail["lifetime"]) == (["short"], 120)
    assert entry.detail["asking"]["lifetime"] == 900


def test_all_kinds_in_one_batch(planner: Stage) -> None:
    """A batch of one transaction: each has its own verdict."""
    parent = planner.enrolled("planner")
    revoked = planner.enrolled("planner")
    planner.revoke(revoked)
    work = [
        Application(Renewal(parent.x5t), request(new_key()), Asked()),
        Application(Renewal(revoked.x5t), request(new_key()), Asked()),
        Application(Delegation(parent.x5t, None, os.urandom(5)), request(new_key()), Asked()),
        Application(ByCertificate(parent.x5t), request(new_key()), Asked()),
    ]
    with planner.database.read() as connection:
        verdicts = desk.decide(planner.authority, connection, work, planner.clock())
    assert [type(verdict).__name__ for verdict in verdicts] == ["Decision", "Denied", "Decision", "Decision"]
