"""`/v1/crls` and what `/readyz` says of the lists."""

from __future__ import annotations

from ca.authority.publisher import Publisher
from ca.refusals import Reason
from tests.ca.authority.stage import Stage, failing, run
from tests.ca.web.calls import Calls, refused

URL = "http://status.example/crl"


def ready(calls: Calls) -> dict[str, object]:
    parts: dict[str, dict[str, object]] = calls.get("/readyz", None).json()["parts"]
    return parts["crl"]


def keep(stage: Stage) -> None:
    run(Publisher(stage.authority, "theirs").keep())


def test_every_list_is_made_anew_and_told(calls: Calls) -> None:
    ops = calls.operator("ops")
    first = calls.post("/v1/crls/publish", ops).json()["items"]
    assert [(item["issuer"], item["shard"], item["url"], item["base"]) for item in first] == [
        ("root-1", 0, f"{URL}/root-1.crl", None),
        ("issuing-1", 1, f"{URL}/issuing-1/1.crl", None),
        ("issuing-1", 0, f"{URL}/issuing-1.crl", None),
    ]
    calls.stage.revoke(calls.stage.enrolled())
    second = calls.post("/v1/crls/publish", ops).json()["items"]
    delta = next(item for item in second if item["shard"] == -1)
    full = next(item for item in second if (item["issuer"], item["shard"]) == ("issuing-1", 0))
    assert (delta["url"], delta["base"]) == (f"{URL}/issuing-1/delta.crl", first[2]["number"])
    assert (delta["number"], delta["entries"], full["entries"]) == (full["number"], 1, 1)
    listed = calls.get("/v1/crls", ops).json()["items"]
    assert sorted(map(str, listed)) == sorted(map(str, second))


def test_an_operator_is_told_when_the_signer_is_gone(calls: Calls) -> None:
    ops = calls.operator("ops")
    calls.stage.signer.instead = failing()
    assert refused(calls.post("/v1/crls/publish", ops), Reason.UNAVAILABLE)
    assert calls.get("/v1/crls", ops).json()["items"] == []


def test_lists_past_half_of_their_life_are_named(calls: Calls) -> None:
    assert not ready(calls)["ready"]
    keep(calls.stage)
    assert ready(calls)["ready"]
    calls.stage.clock.forward(minutes=31)
    assert not ready(calls)["ready"]
    assert "issuing-1/1" in str(ready(calls)["detail"])


def test_after_a_long_silence_all_is_well_with_the_first_round(calls: Calls) -> None:
    """Found once: the delta of before stayed, which no round made anew for a quarter of an hour."""
    keep(calls.stage)
    calls.stage.revoke(calls.stage.enrolled())
    keep(calls.stage)
    calls.stage.clock.forward(minutes=45)
    keep(calls.stage)
    assert ready(calls) == {"ready": True, "detail": "Every CRL is in the first half of its life."}
