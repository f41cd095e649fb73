from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from sqlalchemy import event

from ca.authority import revoke
from ca.authority.issuance import Issued
from ca.authority.revoke import REASONS
from ca.identifiers import Serial
from ca.pki.profile import Kind
from ca.refusals import Reason, Refused
from ca.store import certificates
from ca.store.certificates import Standing
from ca.store.filters import Filter
from ca.store.status import Good, Revoked
from tests.ca.authority.stage import AGENT, TASK, TENANT, Stage

COMPROMISED, SUPERSEDED = REASONS["keyCompromise"], REASONS["superseded"]
MINE = Filter(tenant=TENANT, holder=AGENT)


def one(stage: Stage, issued: Issued, reason: x509.ReasonFlags = COMPROMISED) -> Standing:
    return revoke.revoke_serial(stage.authority, issued.intent.serial, reason, "ops")


def refusal(stage: Stage, serial: Serial) -> Reason:
    with pytest.raises(Refused) as caught:
        revoke.revoke_serial(stage.authority, serial, COMPROMISED, "ops")
    return caught.value.reason


@pytest.mark.parametrize("name", REASONS)
def test_the_reasons_of_an_end_entity(name: str) -> None:
    assert revoke.reason_of(name).value == name


@pytest.mark.parametrize(
    "name",
    [
        "cACompromise",
        "aACompromise",
        "certificateHold",
        "removeFromCRL",
        "unused",
        "7",
        "1",
        "KeyCompromise",
        "key_compromise",
        "",
        "keyCompromise ",
    ],
)
def test_every_other_reason_is_refused_with_those_there_are(name: str) -> None:
    """Case 19."""
    with pytest.raises(Refused, match="keyCompromise, affiliationChanged") as caught:
        revoke.reason_of(name)
    assert caught.value.reason is Reason.REASON_REFUSED


def test_a_revocation_is_there_with_its_commit(ready: Stage) -> None:
    """Case 13: the next question already gets it."""
    issued = ready.enrolled()
    assert ready.status(issued.intent) == Good()
    record = one(ready, issued)
    at = ready.clock().replace(microsecond=0)
    assert (record.revoked_at, record.reason, record.state(ready.clock())) == (at, "keyCompromise", "revoked")
    assert ready.status(issued.intent) == Revoked(at, COMPROMISED)


def test_only_that_certificate_is_revoked(ready: Stage) -> None:
    issued, other = ready.enrolled(), ready.enrolled()
    one(ready, issued)
    assert ready.status(other.intent) == Good()


def test_revoking_again_changes_neither_date_nor_reason(ready: Stage) -> None:
    """Case 19."""
    issued = ready.enrolled()
    first = one(ready, issued)
    ready.clock.forward(minutes=1)
    assert one(ready, issued, SUPERSEDED) == first
    assert len(ready.audited("certificate.revoke")) == 1


def test_an_unknown_serial_and_the_authoritys_own_sound_the_same(ready: Stage) -> None:
    """Case 19: a guess learns nothing, and nobody revokes the CA by a call."""
    authority = Serial(ready.issuer.certificate.serial_number)
    root = Serial(ready.root.certificate.serial_number)
    answers = set()
    for serial in (Serial(5), authority, root):
        with pytest.raises(Refused) as caught:
            revoke.revoke_serial(ready.authority, serial, COMPROMISED, "ops")
        answers.add((caught.value.reason, caught.value.detail))
    assert len(answers) == 1
    assert answers.pop()[0] is Reason.NOT_FOUND


def test_an_expired_certificate_is_not_revoked(ready: Stage) -> None:
    issued = ready.enrolled()
    ready.clock.forward(minutes=16)
    assert refusal(ready, issued.intent.serial) is Reason.CONFLICT
    assert ready.status(issued.intent) == Good()


def test_one_that_was_revoked_before_it_expired_is_answered_still(ready: Stage) -> None:
    issued = ready.enrolled()
    first = one(ready, issued)
    ready.clock.forward(minutes=16)
    assert one(ready, issued) == first


def test_a_revocation_is_audited(ready: Stage) -> None:
    issued = ready.enrolled()
    one(ready, issued)
    [entry] = ready.audited("certificate.revoke")
    assert (entry.actor, entry.decision) == ("ops", "granted")
    assert (entry.tenant, entry.agent, entry.task) == (TENANT, AGENT, TASK)
    assert (entry.serial, entry.detail) == (str(issued.intent.serial), {"reason": "keyCompromise"})


def test_a_dry_run_says_what_would_be_and_does_nothing(ready: Stage) -> None:
    issued = [ready.enrolled() for _ in range(3)]
    before = len(ready.audited("certificate.revoke"))
    dry = revoke.revoke_many(ready.authority, MINE, COMPROMISED, "ops", dry_run=True)
    assert dry.dry_run
    assert {record.intent.serial for record in dry.certificates} == {each.intent.serial for each in issued}
    assert {type(ready.status(each.intent)) for each in issued} == {Good}
    assert len(ready.audited("certificate.revoke")) == before
    done = revoke.revoke_many(ready.authority, MINE, COMPROMISED, "ops", dry_run=False)
    assert [r.intent.serial for r in done.certificates] == [r.intent.serial for r in dry.certificates]
    assert {type(ready.status(each.intent)) for each in issued} == {Revoked}
    assert not done.dry_run


def test_many_at_once_are_the_live_ones_of_the_filter(ready: Stage) -> None:
    ready.agent("second")
    ready.task("seconds", agent="second")
    other = ready.enrolled("second", "seconds")
    expired = ready.enrolled()
    ready.clock.forward(minutes=16)
    dead, live = ready.enrolled(), ready.enrolled()
    one(ready, dead, SUPERSEDED)
    done = revoke.revoke_many(ready.authority, MINE, COMPROMISED, "ops", dry_run=False)
    assert [record.intent.serial for record in done.certificates] == [live.intent.serial]
    assert ready.status(expired.intent) == Good()
    assert ready.status(other.intent) == Good()
    assert ready.record(dead).reason == "superseded"


def test_the_authoritys_own_are_never_among_many(ready: Stage) -> None:
    done = revoke.revoke_many(ready.authority, Filter(), COMPROMISED, "ops", dry_run=False)
    assert done.certificates == []
    with ready.database.read() as connection:
        kinds = {record.intent.kind for record in certificates.page(connection, Filter(), ready.clock(), limit=9)}
    assert kinds == {Kind.ROOT, Kind.ISSUING}


def test_many_are_one_transaction(ready: Stage) -> None:
    for _ in range(3):
        ready.enrolled()
    event.listen(ready.database._writer, "commit", _full, once=True)
    with pytest.raises(Refused) as caught:
        revoke.revoke_many(ready.authority, MINE, COMPROMISED, "ops", dry_run=False)
    assert caught.value.reason is Reason.UNAVAILABLE
    assert {record.state(ready.clock()) for record in ready.issued(MINE)} == {"live"}


def _full(_connection: object) -> None:
    raise OSError("disk full")


def test_the_last_second_of_a_life_can_still_be_revoked(ready: Stage) -> None:
    issued = ready.enrolled()
    ready.clock.now = issued.intent.not_after
    assert one(ready, issued).state(ready.clock()) == "revoked"
    assert ready.clock() - issued.intent.not_after == timedelta(0)
