"""Many questions in one look: each has its own answer, and they cost a handful of queries."""

from __future__ import annotations

import pytest
from sqlalchemy import event

from ca.authority import operators as registry
from ca.hook import inquiry
from ca.hook.inquiry import About, ByCertificate, ByKey, Found, Inquiry, OfKey, OfSerial, OfThumbprint
from ca.identifiers import OperatorName, Serial, TenantId, Thumbprint
from ca.store import operators, relying_parties
from ca.store.operators import Operator, Role
from ca.store.relying_parties import RelyingParty
from tests.ca.authority.stage import Stage, new_key, request, run

KEY, ELSEWHERE = Thumbprint.of(b"key"), Thumbprint.of(b"elsewhere")


@pytest.fixture
def asked(ready: Stage) -> Stage:
    """Two relying parties: one of every tenant, one of another."""
    parties = [
        RelyingParty(OperatorName("as-1"), key=KEY),
        RelyingParty(OperatorName("as-2"), tenants=frozenset({TenantId("another")}), key=ELSEWHERE),
    ]
    for party in parties:
        operator = Operator(party.name, Role.RELYING_PARTY, ready.clock())
        ready.database.write(lambda connection, one=operator: operators.add(connection, one)).result()
        ready.database.write(lambda connection, one=party: relying_parties.add(connection, one)).result()
    return ready


def look_up(stage: Stage, *inquiries: Inquiry) -> list[Found]:
    with stage.database.read() as connection:
        return inquiry.look_up(stage.authority, connection, inquiries)


def subject(stage: Stage, about: About, key: Thumbprint = KEY) -> str | None:
    [found] = look_up(stage, Inquiry(ByKey(key), about))
    return found.subject and found.subject.agent


def test_each_question_has_its_own_answer(asked: Stage) -> None:
    asked.agent("other")
    mine, others = asked.enrolled(), asked.enrolled("other", task=None)
    abouts: list[About] = [
        OfThumbprint(mine.x5t),
        OfThumbprint(Thumbprint.of(b"nobody's")),
        OfSerial(asked.issuer.dn, others.intent.serial),
        OfThumbprint(mine.x5t),
    ]
    found = look_up(asked, *[Inquiry(ByKey(KEY), about) for about in abouts])
    assert [one.subject and one.subject.agent for one in found] == ["bot", None, "other", "bot"]
    assert {one.asker.party.name for one in found if one.asker} == {"as-1"}


def test_many_cost_as_many_queries_as_one(asked: Stage) -> None:
    issued = [asked.enrolled() for _ in range(3)]
    statements: list[str] = []
    engine = asked.database._reader
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    look_up(asked, Inquiry(ByKey(KEY), OfThumbprint(issued[0].x5t)))
    alone = len(statements)
    statements.clear()
    look_up(asked, *[Inquiry(ByKey(KEY), OfThumbprint(one.x5t)) for one in issued])
    assert len(statements) == alone <= 6


def test_a_stranger_is_nobody_and_learns_nothing(asked: Stage) -> None:
    mine = asked.enrolled()
    for caller in (ByKey(Thumbprint.of(b"wrong")), ByCertificate(Thumbprint.of(b"none")), ByCertificate(mine.x5t)):
        assert look_up(asked, Inquiry(caller, OfThumbprint(mine.x5t))) == [Found(None)]


def test_of_another_tenant_nothing_is_known(asked: Stage) -> None:
    mine = asked.enrolled()
    for about in (OfThumbprint(mine.x5t), OfSerial(asked.issuer.dn, mine.intent.serial)):
        assert subject(asked, about) == "bot"
        assert subject(asked, about, ELSEWHERE) is None


def test_a_serial_is_its_issuers(asked: Stage) -> None:
    """The root's own serials, and ours under another's name, are nobody's."""
    mine, root = asked.enrolled(), Serial(asked.issuer.certificate.serial_number)
    assert subject(asked, OfSerial(asked.root.dn, mine.intent.serial)) is None
    assert subject(asked, OfSerial(asked.issuer.dn, root)) is None
    [found] = look_up(asked, Inquiry(ByKey(KEY), OfSerial("CN=Another", mine.intent.serial)))
    assert found.foreign


def test_a_key_that_nothing_was_bound_to(asked: Stage) -> None:
    assert subject(asked, OfKey(Thumbprint.of(b"jkt"))) is None


@pytest.mark.parametrize(
    ("der", "foreign"),
    [(b"", True), (b"\x30\x00", True), (None, False)],
    ids=["empty", "no certificate", "a name alone"],
)
def test_what_cannot_be_ours_is_foreign(asked: Stage, der: bytes | None, foreign: bool) -> None:
    [found] = look_up(asked, Inquiry(ByKey(KEY), OfThumbprint(Thumbprint.of(der or b"x"), der)))
    assert found.foreign is foreign


def test_the_operator_of_a_certificate_is_who_asks(asked: Stage) -> None:
    name, key = OperatorName("rs-1"), request(new_key())
    _, issued = run(registry.add(asked.authority, name, Role.RELYING_PARTY, key, "ops"))
    mine = asked.enrolled()
    [found] = look_up(asked, Inquiry(ByCertificate(issued.x5t), OfThumbprint(mine.x5t)))
    assert found.asker is not None
    assert (found.asker.role, found.asker.party) == (Role.RELYING_PARTY, RelyingParty(OperatorName("rs-1")))
    assert found.subject is not None
    asked.clock.forward(days=91)
    assert look_up(asked, Inquiry(ByCertificate(issued.x5t), OfThumbprint(mine.x5t)))[0].asker is None, "it has expired"
