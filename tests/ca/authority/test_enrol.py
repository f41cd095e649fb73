from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import text

from ca.authority import agents, desk, revoke, tasks
from ca.authority.claims import Application, ByToken
from ca.identifiers import AgentId, TaskId, Thumbprint
from ca.pki import csr, keys
from ca.pki.extensions import AgentTask
from ca.policy.ceiling import Asked, Principal, TaskState
from ca.policy.scope import Scope
from ca.proofs import token as proof
from ca.refusals import Reason, Refused
from ca.store import audit, certificates
from ca.store.audit import Entry
from ca.store.filters import Filter
from ca.store.status import Good
from ca.store.transaction import Database
from tests.ca.authority.stage import AGENT, TASK, TENANT, Key, Stage, failing, new_key, request, run

SPIFFE = x509.UniformResourceIdentifier("spiffe://agents.example/agent/acme/bot")


def task_of(der: bytes) -> AgentTask:
    oid = x509.ObjectIdentifier("1.3.6.1.4.1.32473.1.1")
    value = x509.load_der_x509_certificate(der).extensions.get_extension_for_oid(oid).value
    return AgentTask.decode(value.value)  # type: ignore[attr-defined]


def test_a_token_and_a_csr_make_the_certificate_of_the_contract(ready: Stage) -> None:
    key = new_key()
    issued = ready.enrol(ready.token(), key)
    made = x509.load_der_x509_certificate(issued.der)
    now = ready.clock().replace(microsecond=0)
    assert made.subject.rfc4514_string() == "CN=bot,OU=acme,O=Remit"
    assert list(made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == [SPIFFE]
    assert made.public_key() == key.public_key()
    assert made.not_valid_before_utc == now - timedelta(seconds=60)
    assert made.not_valid_after_utc == now + timedelta(seconds=899)
    assert task_of(issued.der).task_id == TASK
    assert task_of(issued.der).scope == "read"
    assert ready.status(issued.intent) == Good()
    assert (issued.intent.tenant, issued.intent.holder, issued.intent.task) == (TENANT, AGENT, TASK)


def test_the_task_extension_says_what_the_registry_says(ready: Stage) -> None:
    record = ready.task(
        "full",
        resources=("https://api.example",),
        details=[{"type": "payment", "limit": 5}],
        principal=Principal("https://idp.example", "alice"),
        deadline=ready.clock() + timedelta(minutes=5, microseconds=3),
    )
    issued = ready.enrol(ready.token(task="full"))
    expected = AgentTask(
        task_id="full",
        deadline=record.task.deadline,
        details_sha256=Thumbprint.of(b'[{"limit":5,"type":"payment"}]').digest,
        scope="read",
        resources=("https://api.example",),
        principal_sha256=Thumbprint.of(b"https://idp.example\0alice").digest,
    )
    assert task_of(issued.der) == expected
    assert b"alice" not in issued.der, "no personal data in a certificate"
    assert issued.intent.not_after <= record.task.deadline


def test_without_a_task_there_is_no_task_extension(ready: Stage) -> None:
    issued = ready.enrolled(task=None)
    found = {one.oid.dotted_string for one in x509.load_der_x509_certificate(issued.der).extensions}
    assert "1.3.6.1.4.1.32473.1.1" not in found
    assert issued.intent.task is None


def test_the_scope_is_the_tasks_within_the_agents_of_now(ready: Stage) -> None:
    """The ceiling was narrowed after the task was opened: the certificate follows."""
    ready.task("wide", scope="read write")
    token = ready.token(task="wide")
    narrowed = Scope.parse("write")
    agents.change(
        ready.authority,
        TENANT,
        AGENT,
        lambda it: replace(it, agent=replace(it.agent, ceiling=narrowed)),
        "agent.update",
        "ops",
    )
    assert task_of(ready.enrol(token).der).scope == "write"


def test_what_is_asked_for_narrows(ready: Stage) -> None:
    end = ready.clock() + timedelta(minutes=2)
    issued = ready.enrol(ready.token(), asked=Asked(TASK, Scope(), end))
    assert task_of(issued.der).scope is None
    assert issued.intent.not_after <= end


# Refusals. Each leaves the token whole and the signer unasked, but where the token itself is the matter.


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (Asked(task=TaskId("other")), Reason.FORBIDDEN),
        (Asked(scope=Scope.parse("write")), Reason.SCOPE_EXCEEDED),
        (Asked(scope=Scope.parse("admin")), Reason.SCOPE_EXCEEDED),
    ],
)
def test_asking_for_more_is_refused_and_the_token_stays(ready: Stage, asked: Asked, reason: Reason) -> None:
    token = ready.token()
    assert ready.refused(token, asked=asked) is reason
    assert ready.signer.signed == []
    assert ready.enrol(token)


def test_withdrawn_between_token_and_issue_is_refused(ready: Stage) -> None:
    """Case 11: the agent was suspended after the token was made."""
    token, key = ready.token(), new_key()
    agents.suspend(ready.authority, TENANT, AGENT, "ops")
    assert ready.refused(token, key) is Reason.AGENT_SUSPENDED
    assert ready.signer.signed == []
    assert ready.unfinished() == []
    agents.resume(ready.authority, TENANT, AGENT, "ops")
    assert ready.enrol(token, key)


@pytest.mark.parametrize("state", [TaskState.COMPLETED, TaskState.CANCELLED])
def test_a_task_that_ended_between_token_and_issue_is_refused(ready: Stage, state: TaskState) -> None:
    """Case 11."""
    token = ready.token()
    tasks.end(ready.authority, TENANT, TASK, state, "ops")
    assert ready.refused(token) is Reason.TASK_ENDED
    assert ready.signer.signed == []


def test_a_task_past_its_deadline_is_refused_before_anyone_ended_it(ready: Stage) -> None:
    ready.task("short", deadline=ready.clock() + timedelta(minutes=2))
    token = ready.token(task="short")
    ready.clock.forward(minutes=2)
    assert ready.refused(token) is Reason.TASK_ENDED


def test_a_certificate_never_outlives_the_tasks_deadline(ready: Stage) -> None:
    deadline = ready.clock() + timedelta(seconds=90)
    ready.task("short", deadline=deadline)
    assert ready.enrol(ready.token(task="short")).intent.not_after <= deadline


def test_suspension_in_the_very_moment_of_issue_is_seen(ready: Stage) -> None:
    """Case 11: both wait for the writer; whichever is first, the second is decided after it."""
    token, key = ready.token(), new_key()
    threads = [
        threading.Thread(target=agents.suspend, args=(ready.authority, TENANT, AGENT, "ops")),
        threading.Thread(target=lambda: outcomes.append(_try(ready, token, key))),
    ]
    outcomes: list[Reason | bytes] = []
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    [outcome] = outcomes
    stored = [one.action for one in _audit(ready) if one.action in ("agent.suspend", "certificate.intend")]
    if isinstance(outcome, bytes):
        assert stored == ["certificate.intend", "agent.suspend"]
    else:
        assert outcome is Reason.AGENT_SUSPENDED
        assert stored == ["agent.suspend"]


def _audit(stage: Stage) -> list[Entry]:
    with stage.database.read() as connection:
        return audit.everything(connection)


def _try(stage: Stage, token: Thumbprint, key: Key) -> Reason | bytes:
    try:
        return stage.enrol(token, key).der
    except Refused as refused:
        return refused.reason


def test_an_unknown_token_is_refused_and_fills_no_log(ready: Stage) -> None:
    before = len(_audit(ready))
    assert ready.refused(proof.hash_of(proof.mint(bytes(32)))) is Reason.TOKEN_INVALID
    assert len(_audit(ready)) == before


def test_a_refusal_of_a_real_token_is_audited(ready: Stage) -> None:
    token = ready.token()
    agents.suspend(ready.authority, TENANT, AGENT, "ops")
    ready.refused(token)
    [entry] = ready.audited("certificate.enrol")
    assert (entry.decision, entry.agent, entry.task) == ("refused", AGENT, TASK)
    assert entry.detail == {"reason": "agent-suspended"}


def test_an_expired_token_is_refused(ready: Stage) -> None:
    token = ready.token()
    ready.clock.forward(minutes=5)
    assert ready.refused(token) is Reason.TOKEN_INVALID
    assert ready.signer.signed == []


def test_a_bound_token_is_refused_to_another_key(ready: Stage) -> None:
    key = new_key()
    token = ready.token(key=keys.thumbprint(key.public_key()))
    assert ready.refused(token, new_key()) is Reason.TOKEN_INVALID
    assert ready.signer.signed == []
    assert ready.enrol(token, key)


def test_names_of_another_in_the_csr_are_refused_and_the_token_stays(ready: Stage) -> None:
    """Case 9."""
    token, key = ready.token(), new_key()
    other = x509.UniformResourceIdentifier("spiffe://agents.example/agent/acme/other")
    with pytest.raises(Refused) as caught:
        run(desk.apply(ready.authority, Application(ByToken(token), request(key, other), Asked())))
    assert caught.value.reason is Reason.CSR_IDENTITY
    assert ready.signer.signed == []
    assert run(desk.apply(ready.authority, Application(ByToken(token), request(key, SPIFFE), Asked())))


@pytest.mark.parametrize("allowed", [True, False])
def test_rsa_is_policys_to_allow(ready: Stage, allowed: bool) -> None:
    ready.authority = ready.over(ready.database, rsa_allowed=allowed)
    key = rsa.generate_private_key(65537, 2048)
    raw = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, SHA256())
    enrolment = Application(ByToken(ready.token()), csr.parse(raw.public_bytes(Encoding.DER)), Asked())
    if allowed:
        assert run(desk.apply(ready.authority, enrolment))
        return
    with pytest.raises(Refused) as caught:
        run(desk.apply(ready.authority, enrolment))
    assert caught.value.reason is Reason.KEY_REFUSED
    assert ready.signer.signed == []


# Once: case 12.


def test_the_same_token_and_key_get_the_same_certificate(ready: Stage) -> None:
    token, key = ready.token(), new_key()
    first, again = ready.enrol(token, key), ready.enrol(token, key)
    assert again.der == first.der
    assert len(ready.issued()) == 1
    assert len(ready.signer.signed) == 1


def test_the_answer_can_be_had_again_after_the_token_has_expired(ready: Stage) -> None:
    token, key = ready.token(), new_key()
    first = ready.enrol(token, key)
    ready.clock.forward(minutes=10)
    assert ready.enrol(token, key).der == first.der


def test_the_same_token_and_another_key_get_nothing(ready: Stage) -> None:
    token = ready.token()
    ready.enrol(token)
    assert ready.refused(token) is Reason.TOKEN_INVALID
    assert len(ready.issued()) == 1


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_a_certificate_that_no_longer_stands_is_not_given_again(ready: Stage, how: str) -> None:
    token, key = ready.token(), new_key()
    issued = ready.enrol(token, key)
    if how == "revoked":
        revoke.revoke_serial(ready.authority, issued.intent.serial, revoke.reason_of("superseded"), "ops")
    else:
        ready.clock.forward(minutes=16)
    assert ready.refused(token, key) is Reason.TOKEN_INVALID
    assert len(ready.issued()) == 1


@pytest.mark.parametrize("same_key", [True, False], ids=["same key", "ten keys"])
def test_ten_threads_race_for_one_token_and_one_certificate_comes_of_it(ready: Stage, same_key: bool) -> None:
    """Case 12: on two replicas over one file."""
    token, one_key = ready.token(), new_key()
    other = Database(ready.url)
    replicas = [ready.authority, ready.over(other, replica=lambda _: 2)]
    start = threading.Barrier(10)
    outcomes: list[Reason | bytes] = []

    def race(n: int) -> None:
        enrolment = Application(ByToken(token), request(one_key if same_key else new_key()), Asked())
        start.wait(30)
        try:
            outcomes.append(run(desk.apply(replicas[n % 2], enrolment)).der)
        except Refused as refused:
            outcomes.append(refused.reason)

    threads = [threading.Thread(target=race, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    other.close()
    got = [outcome for outcome in outcomes if isinstance(outcome, bytes)]
    assert len(outcomes) == 10
    assert len(set(got)) == 1
    assert same_key or len(got) == 1
    assert {outcome for outcome in outcomes if not isinstance(outcome, bytes)} <= {Reason.TOKEN_INVALID}
    assert len(ready.issued()) == 1
    # Whoever comes again before the first is done finishes it: the same bytes may be signed twice, others never.
    assert len(set(ready.signer.signed)) == 1
    assert ready.unfinished() == []


def test_many_enrol_at_once_and_each_gets_its_own(ready: Stage) -> None:
    work = [(ready.token(), new_key()) for _ in range(20)]
    outcomes: dict[int, bytes] = {}

    def one(n: int) -> None:
        outcomes[n] = ready.enrol(*work[n]).der

    threads = [threading.Thread(target=one, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for n, (_, key) in enumerate(work):
        assert x509.load_der_x509_certificate(outcomes[n]).public_key() == key.public_key()
    assert len(ready.issued()) == 20


def test_a_fault_of_the_signer_gives_nothing_away(ready: Stage) -> None:
    ready.signer.instead = failing()
    assert ready.refused(ready.token()) is Reason.UNAVAILABLE
    with ready.database.read() as connection:
        assert certificates.page(connection, Filter(holder=AgentId("bot")), ready.clock(), limit=9) == []


def test_an_issuer_about_to_end_limits_its_certificates(ready: Stage) -> None:
    end = ready.issuer.certificate.not_valid_after_utc
    ready.clock.now = end - timedelta(minutes=4)
    ready.task("late")
    assert ready.enrol(ready.token(task="late")).intent.not_after <= end
    ready.clock.now = end
    ready.task("too-late")
    assert ready.refused(ready.token(task="too-late")) is Reason.LIFETIME_REFUSED


@pytest.mark.parametrize("table", ["agents", "tasks"])
def test_a_token_for_what_is_gone_from_the_registry_opens_nothing(ready: Stage, table: str) -> None:
    token = ready.token()
    ready.database.write(lambda connection: connection.execute(text(f"DELETE FROM {table}"))).result(10)
    assert ready.refused(token) is Reason.TOKEN_INVALID
    assert ready.signer.signed == []
