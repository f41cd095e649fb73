"""`/v1/certificates/{serial}/hold` and `/release`: who may, what it shows, and that a held one opens no door."""

from __future__ import annotations

import pytest

from ca.authority.issuance import Issued
from ca.refusals import Reason
from ca.store.operators import Role
from ca.web.callers import PERMISSIONS, Act
from tests.ca.web.calls import Calls, refused


def path(issued: Issued, act: str) -> str:
    return f"/v1/certificates/{issued.intent.serial}/{act}"


def test_a_hold_and_its_release_show_and_wake_the_publisher(calls: Calls) -> None:
    ops, issued = calls.operator("ops"), calls.stage.enrolled()
    held = calls.post(path(issued, "hold"), ops)
    assert held.status_code == 200
    shown = held.json()
    assert (shown["serial"], shown["state"], shown["reason"]) == (str(issued.intent.serial), "held", "certificateHold")
    assert shown["revoked_at"]
    assert calls.publisher.woken == 1
    [item] = calls.get("/v1/certificates?state=held", ops).json()["items"]
    assert {**item, "x5t#S256": None} == {**shown, "x5t#S256": None}
    assert calls.post(path(issued, "hold"), ops).json() == shown, "said twice it is the same"
    released = calls.post(path(issued, "release"), ops).json()
    assert (released["state"], released["reason"], released["revoked_at"]) == ("live", None, None)
    assert calls.get("/v1/certificates?state=held", ops).json()["items"] == []
    assert calls.post(path(issued, "release"), ops).json() == released
    assert calls.publisher.woken == 4


@pytest.mark.parametrize("act", ["hold", "release"])
@pytest.mark.parametrize("role", Role)
def test_who_may_revoke_may_hold_and_release(calls: Calls, role: Role, act: str) -> None:
    who, issued = calls.operator("someone", role), calls.stage.enrolled()
    answer = calls.post(path(issued, act), who)
    if Act.REVOKE in PERMISSIONS[role]:
        assert answer.status_code == 200
    else:
        assert refused(answer, Reason.FORBIDDEN)
        assert calls.publisher.woken == 0


@pytest.mark.parametrize("act", ["hold", "release"])
def test_a_stranger_may_neither(calls: Calls, act: str) -> None:
    assert refused(calls.post(path(calls.stage.enrolled(), act), None), Reason.UNAUTHENTICATED)


def test_an_agent_holds_its_own_and_learns_nothing_of_others(calls: Calls) -> None:
    calls.stage.agent("second")
    calls.stage.task("seconds", agent="second")
    mine, spare, other = (calls.stage.enrolled(), calls.stage.enrolled(), calls.stage.enrolled("second", "seconds"))
    nobodys = "/v1/certificates/" + "01" * 19 + "/hold"
    answers = [calls.post(path(other, "hold"), mine), calls.post(nobodys, mine)]
    assert all(refused(answer, Reason.NOT_FOUND) for answer in answers)
    assert answers[0].json()["detail"] == answers[1].json()["detail"]
    assert calls.post(path(spare, "hold"), mine).json()["state"] == "held"


def test_an_agent_that_was_stopped_does_not_start_itself_again(calls: Calls) -> None:
    mine, spare = calls.stage.enrolled(), calls.stage.enrolled()
    calls.post(path(spare, "hold"), mine)
    assert refused(calls.post(path(spare, "release"), mine), Reason.FORBIDDEN)
    assert refused(calls.post(path(spare, "release"), spare), Reason.UNAUTHENTICATED)


def test_a_held_certificate_is_no_credential_until_it_is_released(calls: Calls) -> None:
    admin, ops = calls.operator("admin", Role.ADMIN), calls.operator("ops")
    assert calls.get("/v1/agents", ops).status_code == 200
    calls.post(path(ops, "hold"), admin)
    assert refused(calls.get("/v1/agents", ops), Reason.UNAUTHENTICATED)
    assert refused(calls.post(path(ops, "release"), ops), Reason.UNAUTHENTICATED)
    calls.post(path(ops, "release"), admin)
    assert calls.get("/v1/agents", ops).status_code == 200


def test_what_cannot_be_held_or_released_is_refused(calls: Calls) -> None:
    ops, issued = calls.operator("ops"), calls.stage.enrolled()
    for act in ("hold", "release"):
        assert refused(calls.post(f"/v1/certificates/zz/{act}", ops), Reason.MALFORMED)
        assert refused(calls.post(f"/v1/certificates/01/{act}", ops), Reason.NOT_FOUND)
    calls.stage.revoke(issued)
    for act in ("hold", "release"):
        assert refused(calls.post(path(issued, act), ops), Reason.CONFLICT)
    ca = calls.stage.issuer.certificate.serial_number
    assert refused(calls.post(f"/v1/certificates/{ca:x}/hold", ops), Reason.NOT_FOUND)
    assert calls.publisher.woken == 0
