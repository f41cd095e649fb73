"""Holds: refused everywhere until it is released, and the one revocation that can be taken back."""

from __future__ import annotations

import pytest
from cryptography import x509

from ca.authority import hold, revoke
from ca.authority.issuance import Issued
from ca.authority.revoke import REASONS
from ca.identifiers import Serial
from ca.refusals import Reason, Refused
from ca.store.certificates import Standing
from ca.store.filters import Filter
from ca.store.status import Good, Revoked
from tests.ca.authority.stage import AGENT, TASK, TENANT, Stage, new_key

HELD = x509.ReasonFlags.certificate_hold
COMPROMISED, SUPERSEDED = REASONS["keyCompromise"], REASONS["superseded"]


def held(stage: Stage, issued: Issued) -> Standing:
    return hold.hold(stage.authority, issued.intent.serial, "ops")


def released(stage: Stage, issued: Issued) -> Standing:
    return hold.release(stage.authority, issued.intent.serial, "ops")


def refusal(act: object, *arguments: object) -> Refused:
    with pytest.raises(Refused) as caught:
        act(*arguments)  # type: ignore[operator]
    return caught.value


def listed(stage: Stage, shard: int) -> dict[int, x509.ReasonFlags]:
    [one] = [one for one in stage.published() if (one.issuer, one.shard) == ("issuing-1", shard)]
    return {
        entry.serial_number: entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
        for entry in x509.load_der_x509_crl(one.der)
    }


def test_a_hold_shows_at_once_and_a_release_takes_it_away(ready: Stage) -> None:
    issued, other = ready.enrolled(), ready.enrolled()
    at = ready.clock().replace(microsecond=0)
    standing = held(ready, issued)
    assert (standing.state(ready.clock()), standing.reason, standing.revoked_at) == ("held", "certificateHold", at)
    assert ready.status(issued.intent) == Revoked(at, HELD)
    assert ready.status(other.intent) == Good()
    ready.clock.forward(minutes=1)
    standing = released(ready, issued)
    assert (standing.state(ready.clock()), standing.reason, standing.revoked_at) == ("live", None, None)
    assert ready.status(issued.intent) == Good()


@pytest.mark.parametrize("shard", [0, 1])
def test_the_lists_have_it_while_it_lasts(ready: Stage, shard: int) -> None:
    issued = ready.enrolled()
    held(ready, issued)
    assert listed(ready, shard) == {issued.intent.serial.number: HELD}
    ready.clock.forward(seconds=1)
    released(ready, issued)
    assert listed(ready, shard) == {}


def test_said_twice_nothing_changes(ready: Stage) -> None:
    issued = ready.enrolled()
    first = held(ready, issued)
    ready.clock.forward(minutes=1)
    assert held(ready, issued) == first
    live = released(ready, issued)
    assert released(ready, issued) == live
    assert len(ready.audited("certificate.hold")) == len(ready.audited("certificate.release")) == 1


def test_what_was_never_held_is_released_as_it_is(ready: Stage) -> None:
    issued = ready.enrolled()
    assert released(ready, issued).state(ready.clock()) == "live"
    assert ready.audited("certificate.release") == []


def test_it_can_be_held_again_from_the_next_second_on(ready: Stage) -> None:
    """Two holds of one second could not be told apart, nor could a delta say which was released."""
    issued = ready.enrolled()
    held(ready, issued)
    released(ready, issued)
    ready.clock.forward(microseconds=500)
    refused = refusal(held, ready, issued)
    assert refused.reason is Reason.CONFLICT
    assert ready.status(issued.intent) == Good()
    ready.clock.forward(seconds=1)
    held(ready, issued)
    assert ready.status(issued.intent) == Revoked(ready.clock().replace(microsecond=0), HELD)
    released(ready, issued)
    assert ready.status(issued.intent) == Good()


def test_what_is_revoked_for_good_is_neither_held_nor_released(ready: Stage) -> None:
    issued = ready.enrolled()
    ready.revoke(issued)
    before = ready.record(issued)
    assert refusal(held, ready, issued).reason is Reason.CONFLICT
    assert refusal(released, ready, issued).reason is Reason.CONFLICT
    assert ready.record(issued) == before


def test_what_has_expired_is_not_held(ready: Stage) -> None:
    issued = ready.enrolled()
    ready.clock.forward(minutes=16)
    assert refusal(held, ready, issued).reason is Reason.CONFLICT


def test_a_hold_outlives_its_certificate_and_is_released_still(ready: Stage) -> None:
    issued = ready.enrolled()
    held(ready, issued)
    ready.clock.forward(minutes=16)
    assert released(ready, issued).state(ready.clock()) == "expired"


@pytest.mark.parametrize("reason", [SUPERSEDED, COMPROMISED])
def test_what_expired_while_it_was_held_is_not_revoked(ready: Stage, reason: x509.ReasonFlags) -> None:
    """Found once: it was answered as if it were, and stayed held."""
    issued = ready.enrolled()
    before = held(ready, issued)
    ready.clock.forward(minutes=16)
    refused = refusal(revoke.revoke_serial, ready.authority, issued.intent.serial, reason, "ops")
    assert refused.reason is Reason.CONFLICT
    assert hold.hold(ready.authority, issued.intent.serial, "ops") == before


def test_an_unknown_serial_and_the_authoritys_own_sound_the_same(ready: Stage) -> None:
    own = [Serial(ca.certificate.serial_number) for ca in (ready.root, ready.issuer)]
    answers = {
        (one.reason, one.detail)
        for act in (hold.hold, hold.release)
        for serial in (Serial(5), *own)
        for one in [refusal(act, ready.authority, serial, "ops")]
    }
    assert len(answers) == 1
    assert answers.pop()[0] is Reason.NOT_FOUND


@pytest.mark.parametrize("reason", [SUPERSEDED, COMPROMISED])
def test_held_and_then_revoked_is_revoked_for_good(ready: Stage, reason: x509.ReasonFlags) -> None:
    """From the moment of the revocation, for its reason; a release comes too late."""
    issued = ready.enrolled()
    held(ready, issued)
    ready.clock.forward(minutes=1)
    standing = revoke.revoke_serial(ready.authority, issued.intent.serial, reason, "ops")
    at = ready.clock().replace(microsecond=0)
    assert (standing.state(ready.clock()), standing.reason, standing.revoked_at) == ("revoked", reason.value, at)
    assert ready.status(issued.intent) == Revoked(at, reason)
    assert listed(ready, 0) == listed(ready, 1) == {issued.intent.serial.number: reason}
    assert refusal(released, ready, issued).reason is Reason.CONFLICT
    assert [entry.detail for entry in ready.audited("certificate.revoke")] == [{"reason": reason.value}]


def test_a_revocation_of_many_takes_what_is_held_with_it(ready: Stage) -> None:
    stopped, live = ready.enrolled(), ready.enrolled()
    held(ready, stopped)
    wanted = Filter(tenant=TENANT, holder=AGENT)
    dry = revoke.revoke_many(ready.authority, wanted, SUPERSEDED, "ops", dry_run=True)
    done = revoke.revoke_many(ready.authority, wanted, SUPERSEDED, "ops", dry_run=False)
    assert [one.intent.serial for one in done.certificates] == [stopped.intent.serial, live.intent.serial]
    assert [one.intent.serial for one in dry.certificates] == [stopped.intent.serial, live.intent.serial]
    assert {one.reason for one in done.certificates} == {"superseded"}


def test_a_hold_blocks_no_key_and_touches_no_other_certificate(ready: Stage) -> None:
    key = new_key()
    first, second = ready.enrol(ready.token(), key), ready.enrol(ready.token(), key)
    held(ready, first)
    assert ready.status(second.intent) == Good()
    assert ready.enrol(ready.token(), key)


def test_the_key_of_one_that_is_held_is_not_free(ready: Stage) -> None:
    """Found once: another agent was certified for it, and after the release one key had two holders."""
    ready.agent("second")
    key = new_key()
    held(ready, ready.enrol(ready.token(), key))
    assert ready.refused(ready.token("second", None), key) is Reason.KEY_REFUSED


def test_one_that_is_held_is_not_given_again(ready: Stage) -> None:
    key, token = new_key(), ready.token()
    issued = ready.enrol(token, key)
    held(ready, issued)
    assert ready.refused(token, key) is Reason.TOKEN_INVALID
    released(ready, issued)
    assert ready.enrol(token, key).der == issued.der


def test_both_are_audited(ready: Stage) -> None:
    issued = ready.enrolled()
    held(ready, issued)
    released(ready, issued)
    [stopped], [started] = ready.audited("certificate.hold"), ready.audited("certificate.release")
    for entry in (stopped, started):
        assert (entry.actor, entry.decision, entry.serial) == ("ops", "granted", str(issued.intent.serial))
        assert (entry.tenant, entry.agent, entry.task) == (TENANT, AGENT, TASK)
