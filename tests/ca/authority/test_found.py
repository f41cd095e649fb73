"""Faults that reading and racing found once: each stays found."""

import asyncio
import threading
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from sqlalchemy.exc import OperationalError

from ca.authority import desk, issuance, operators, revoke, tasks, upkeep
from ca.authority.claims import Application, ByToken
from ca.authority.upkeep import Upkeep
from ca.config import Misconfigured, Settings
from ca.identifiers import OperatorName
from ca.pki import csr
from ca.pki.extensions import AgentDelegation
from ca.pki.profile import Kind
from ca.policy.ceiling import Asked, TaskState
from ca.refusals import Reason, Refused
from ca.store import agents as agent_store
from ca.store.operators import Role
from ca.store.status import Revoked
from tests.ca.authority.stage import TASK, TENANT, Stage, answering, failing, new_key, request, run
from tests.ca.pki import requests as made
from tests.ca.pki.specimens import Hierarchy
from tests.ca.pki.test_lint import rebuilt, sound
from tests.ca.store.rows import agent as agent_row


@pytest.fixture(scope="session")
def hierarchy():
    return Hierarchy()


def csr_reason(raw):
    with pytest.raises(Refused) as c:
        csr.parse(raw)
    return c.value.reason


# 1 CSR leaks
def test_csr_version():
    assert csr_reason(made.request(made.info(version=b"\x02\x01\x01"))) is Reason.CSR_MALFORMED


@pytest.mark.parametrize("tag", [0xA3, 0xA5])
def test_csr_san_x400_edi(tag):
    assert csr_reason(
        made.request(made.info(attributes=made.asking(made.alternative_names(made.tlv(tag, b"\x0c\x01a")))))
    ) in (Reason.CSR_MALFORMED, Reason.CSR_IDENTITY, Reason.CSR_EXTENSION)


@pytest.mark.parametrize(
    "subject",
    [made.name(b"\xff\xfe"), made.name(b"\x01", tag=2), made.name(b"\x00ab", tag=3)],
    ids=["utf8", "integer", "bitstring"],
)
def test_csr_subject(subject):
    assert csr_reason(made.request(made.info(subject=subject))) is Reason.CSR_MALFORMED


# 2 delegation
def test_delegation_root_31():
    with pytest.raises(ValueError):
        AgentDelegation.decode(bytes.fromhex("3049" + "020101" + "020103" + "0420" + "02" * 32 + "801f" + "03" * 31))


# 3 writer dies when a waiting future is cancelled
def test_cancelled_future_does_not_kill_the_writer(stage):
    go, inn = threading.Event(), threading.Event()

    def hold(c):
        inn.set()
        assert go.wait(10)

    stage.database.write(hold)
    assert inn.wait(10)
    future = stage.database.write(lambda c: agent_store.add(c, agent_row("one")))
    assert future.cancel()
    go.set()
    stage.database.write(lambda c: agent_store.add(c, agent_row("two"))).result(5)


def test_a_cancelled_request_does_not_stop_the_authority(ready):
    """A deadline or a disconnect cancels the task; wrap_future cancels the writer's future with it."""
    tokens_ = [ready.token(), ready.token()]
    go, inn = threading.Event(), threading.Event()

    def hold(c):
        inn.set()
        assert go.wait(10)

    async def main():
        ready.database.write(hold)
        await asyncio.to_thread(inn.wait, 10)
        one = asyncio.create_task(
            desk.apply(ready.authority, Application(ByToken(tokens_[0]), request(new_key()), Asked()))
        )
        await asyncio.sleep(0.05)
        one.cancel()
        await asyncio.sleep(0.05)
        go.set()
        async with asyncio.timeout(5):
            return await desk.apply(ready.authority, Application(ByToken(tokens_[1]), request(new_key()), Asked()))

    assert run(main())


# 4 intent not revocable
def intended(stage):
    stage.signer.instead = failing()
    with pytest.raises(Refused):
        stage.enrol(stage.token())
    stage.signer.instead = None
    [left] = stage.unfinished()
    return left


def test_an_intent_can_be_revoked_by_serial(ready):
    left = intended(ready)
    revoke.revoke_serial(ready.authority, left.serial, revoke.reason_of("keyCompromise"), "ops")
    run(issuance.recover(ready.authority))
    assert isinstance(ready.status(left), Revoked)


def test_the_end_of_a_task_reaches_its_intents(ready):
    left = intended(ready)
    tasks.end(ready.authority, TENANT, TASK, TaskState.CANCELLED, "ops")
    run(issuance.recover(ready.authority))
    assert isinstance(ready.status(left), Revoked)


def test_recovery_without_restart(ready):
    token, key = ready.token(), new_key()
    ready.signer.instead = failing()
    with pytest.raises(Refused):
        ready.enrol(token, key)
    ready.signer.instead = None
    ready.enrol(token, key)


# 5 serial collision
# 6 operator with an agent's key
def test_operator_with_agents_key(ready):
    key = new_key()
    ready.enrol(ready.token(), key)
    with pytest.raises(Refused) as c:
        run(operators.add(ready.authority, OperatorName("ops"), Role.ADMIN, request(key), "x"))
    assert c.value.reason is Reason.KEY_REFUSED


# 7 task too large for a certificate
def test_a_task_that_no_certificate_could_carry_is_refused_when_it_is_opened(ready):
    with pytest.raises(Refused) as caught:
        ready.task("big", resources=tuple(f"https://api.example/{i}/" + "x" * 200 for i in range(16)))
    assert caught.value.reason is Reason.MALFORMED


# 8 upkeep dies
def test_upkeep_survives_database_read_fault(stage, monkeypatch):
    monkeypatch.setattr(upkeep, "ROUND", 0.02)
    monkeypatch.setattr(upkeep, "_AFTER_A_FAULT", 0.02)

    async def broken():
        raise OperationalError("SELECT", {}, Exception("disk I/O error"))

    async def go():
        t = asyncio.create_task(Upkeep(stage.authority, (broken,)).run())
        await asyncio.sleep(1)
        d = t.done()
        t.cancel()
        with suppress(asyncio.CancelledError):
            await t
        assert not d

    run(go())


# 9 lint gaps
def test_outer_algorithm(hierarchy):
    case = sound(hierarchy)
    with pytest.raises(Refused):
        replace(
            case, to_be_signed=replace(case.to_be_signed, algorithm=bytes.fromhex("300a06082a8648ce3d040303"))
        ).lint()


@pytest.mark.parametrize(
    "what", ["policies", "ian", "extra nc", "no ski", "wrong ski", "crl url", "ocsp url", "issuing without nc"]
)
def test_lint_gap(hierarchy, what):
    leaf = sound(hierarchy)

    def uri(u):
        return x509.UniformResourceIdentifier(u)

    cases = {
        "policies": lambda: rebuilt(
            leaf,
            added=[
                (x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("2.5.29.32.0"), None)]), False)
            ],
        ),
        "ian": lambda: rebuilt(leaf, added=[(x509.IssuerAlternativeName([uri("http://evil")]), False)]),
        "extra nc": lambda: rebuilt(leaf, added=[(x509.NameConstraints([uri("evil")], None), True)]),
        "no ski": lambda: rebuilt(leaf, without=x509.SubjectKeyIdentifier),
        "wrong ski": lambda: rebuilt(
            leaf, extensions={x509.SubjectKeyIdentifier: (x509.SubjectKeyIdentifier(b"x"), False)}
        ),
        "crl url": lambda: rebuilt(
            leaf,
            extensions={
                x509.CRLDistributionPoints: (
                    x509.CRLDistributionPoints([x509.DistributionPoint([uri("http://evil")], None, None, None)]),
                    False,
                )
            },
        ),
        "ocsp url": lambda: rebuilt(
            leaf,
            extensions={
                x509.AuthorityInformationAccess: (
                    x509.AuthorityInformationAccess(
                        [x509.AccessDescription(x509.ObjectIdentifier("1.3.6.1.5.5.7.48.1"), uri("http://evil"))]
                    ),
                    False,
                )
            },
        ),
        "issuing without nc": lambda: rebuilt(sound(hierarchy, Kind.ISSUING), without=x509.NameConstraints),
    }
    with pytest.raises(Refused):
        cases[what]().lint()


def test_lint_version_2(hierarchy):
    case = sound(hierarchy)
    tbs = case.to_be_signed.tbs.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020101"), 1)
    with pytest.raises(Refused):
        replace(case, to_be_signed=replace(case.to_be_signed, tbs=tbs)).lint()


# 10 config
@pytest.fixture
def env(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REMIT_PKCS11__MODULE", "/x.so")
    return monkeypatch


def test_bad_toml(env, tmp_path):
    (tmp_path / "remit.toml").write_text("a = = b")
    with pytest.raises(Misconfigured):
        Settings.load()


def test_toml_not_utf8(env, tmp_path):
    (tmp_path / "remit.toml").write_bytes(b"\xff")
    with pytest.raises(Misconfigured):
        Settings.load()


def test_missing_named_file(env):
    env.setenv("REMIT_CONFIG", "/nowhere/remit.toml")
    with pytest.raises(Misconfigured):
        Settings.load()


def test_huge_duration(env):
    env.setenv("REMIT_STATUS__CRL_LIFETIME", "9999999999d")
    with pytest.raises(Misconfigured):
        Settings.load()


def test_contradicting_lifetimes(env):
    env.setenv("REMIT_CERTIFICATES__SHORTEST", "2h")
    with pytest.raises(Misconfigured):
        Settings.load()


def test_question_mark(env):
    env.setenv("REMIT_LISTN", "x")
    with pytest.raises(Misconfigured) as c:
        Settings.load()
    assert not str(c.value).endswith("?.")


def test_oid_arc_impossible(env):
    env.setenv("REMIT_OID_ARC", "1.50")
    with pytest.raises(Misconfigured):
        Settings.load()


# 11 publish answers with a list that is not in force
def test_publish_returns_what_is_in_force(ready):
    ready.published()
    ready.clock.forward(hours=-1)
    made = ready.published()
    from ca.store import crls

    with ready.database.read() as c:
        assert {m.number for m in made} == {p.number for p in crls.headings(c)}


# 12 last second
def test_last_second_state_agrees(ready):
    issued = ready.enrolled()
    ready.clock.now = issued.intent.not_after + timedelta(milliseconds=500)
    from ca.store import certificates
    from ca.store.filters import Filter

    with ready.database.read() as c:
        [r] = certificates.page(c, Filter(tenant=TENANT, state="live"), ready.clock(), limit=5)
    assert r.state(ready.clock()) == "live"


# 13 write after close
def test_write_after_close(tmp_path):
    s = Stage(tmp_path)
    s.close()
    s.database.write(lambda c: None).exception(3)


# 14 delete of signature count
def test_signer_returns_too_few(ready):
    ready.signer.instead = answering()
    with pytest.raises(Refused):
        ready.enrol(ready.token())
