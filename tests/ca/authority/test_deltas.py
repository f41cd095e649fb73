"""Delta CRLs (RFC 5280 5.2.4): on which full list one stands, and that both together say what the newest one does."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from ca.authority import hold, lists, revoke
from ca.authority.issuance import Issued
from ca.authority.publisher import Publisher
from ca.refusals import Refused
from ca.store.crls import DELTA, FULL, PublishedCrl
from tests.ca.authority.stage import Stage, run

Said = dict[int, tuple[x509.ReasonFlags | None, object]]


def entries(one: PublishedCrl) -> Said:
    """What a list says of each serial: why, and since when."""
    said: Said = {}
    for entry in x509.load_der_x509_crl(one.der):
        reasons = [each.value.reason for each in entry.extensions if isinstance(each.value, x509.CRLReason)]
        said[entry.serial_number] = (reasons[0] if reasons else None, entry.revocation_date_utc)
    return said


def combined(base: PublishedCrl, delta: PublishedCrl) -> Said:
    """As a relying party joins the two (RFC 5280 6.3.3)."""
    joined = entries(base) | entries(delta)
    return {serial: said for serial, said in joined.items() if said[0] is not x509.ReasonFlags.remove_from_crl}


def keep(stage: Stage) -> tuple[PublishedCrl, PublishedCrl | None]:
    """A round of the publisher: the full list and the delta in force."""
    run(Publisher(stage.authority, "ours").keep())
    full = stage.in_force(shard=FULL)
    assert full is not None
    return full, stage.in_force(shard=DELTA)


def with_delta(stage: Stage) -> tuple[PublishedCrl, PublishedCrl]:
    full, delta = keep(stage)
    assert delta is not None
    return full, delta


def change(stage: Stage) -> Issued:
    issued = stage.enrolled()
    stage.revoke(issued)
    return issued


def freshest(full: PublishedCrl) -> list[str]:
    """Where its delta is (RFC 5280 5.2.6)."""
    found = [each.value for each in x509.load_der_x509_crl(full.der).extensions]
    points = [point for each in found if isinstance(each, x509.FreshestCRL) for point in each]
    return [name.value for point in points for name in point.full_name or ()]


def test_the_first_full_list_has_no_delta_and_names_none(ready: Stage) -> None:
    full, delta = keep(ready)
    assert delta is None
    assert freshest(full) == []


def test_a_delta_names_its_base_has_its_full_lists_number_and_only_what_changed(ready: Stage) -> None:
    change(ready)
    base, _ = keep(ready)
    issued = change(ready)
    full, delta = with_delta(ready)
    crl = x509.load_der_x509_crl(delta.der)
    indicator = crl.extensions.get_extension_for_class(x509.DeltaCRLIndicator)
    assert indicator.critical
    assert indicator.value.crl_number == base.number
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == delta.number == full.number
    assert crl.is_signature_valid(ready.issuer.public_key)
    assert (delta.this_update, delta.next_update) == (full.this_update, full.next_update)
    assert entries(delta).keys() == {issued.intent.serial.number}
    assert freshest(full) == ["http://status.example/crl/issuing-1/delta.crl"]
    assert freshest(delta) == []


def test_the_roots_lists_have_none(ready: Stage) -> None:
    for _ in range(3):
        ready.published()
    assert ready.in_force("root-1", DELTA) is None


def test_the_base_stays_the_same_while_it_is_young(ready: Stage) -> None:
    """Whoever fetched the base once needs only deltas for a while."""
    base, _ = keep(ready)
    for _ in range(4):
        change(ready)
        ready.clock.forward(minutes=5)
        full, delta = with_delta(ready)
        assert delta.base is not None
        assert delta.base.number == base.number
        assert combined(base, delta) == entries(full)


def test_a_base_of_half_its_life_is_left_for_a_newer_one(ready: Stage) -> None:
    base, _ = keep(ready)
    numbers = []
    for _ in range(6):
        ready.clock.forward(minutes=10)
        change(ready)
        full, delta = with_delta(ready)
        assert delta.base is not None
        assert full.this_update - delta.base.this_update < timedelta(minutes=30)
        numbers.append(delta.base.number)
    assert numbers[0] == base.number
    assert numbers == sorted(numbers)
    assert len(set(numbers)) >= 2


def test_a_delta_that_grew_too_long_stands_on_a_newer_base(ready: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "LONGEST_DELTA", 2)
    first, _ = keep(ready)
    bases, fulls = [], [first]
    for _ in range(4):
        change(ready)
        full, delta = with_delta(ready)
        assert delta.base is not None
        bases.append(delta.base.number)
        assert len(entries(delta)) <= 2
        base = next(one for one in fulls if one.number == delta.base.number)
        assert combined(base, delta) == entries(full)
        fulls.append(full)
    assert bases[0] == bases[1] == first.number
    assert bases[2] == fulls[2].number


def test_where_no_delta_can_be_made_there_is_none(ready: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found once: the last one stayed, grew old, and the service said for a quarter of an hour that it was not well."""
    keep(ready)
    change(ready)
    with_delta(ready)
    monkeypatch.setattr(lists, "LONGEST_DELTA", 1)
    change(ready)
    change(ready)
    full, delta = keep(ready)
    assert delta is None
    assert freshest(full) == []
    change(ready)
    full, delta = with_delta(ready)
    assert freshest(full)


def test_after_a_long_silence_no_old_list_is_left(ready: Stage) -> None:
    """Nothing ran for a while: no base is young enough."""
    keep(ready)
    change(ready)
    with_delta(ready)
    ready.clock.forward(minutes=45)
    full, delta = keep(ready)
    assert delta is None
    assert full.this_update == ready.clock().replace(microsecond=0)


def test_a_hold_is_in_the_delta_and_its_release_removes_it(ready: Stage) -> None:
    """RFC 5280 5.3.1: removeFromCRL stands in deltas alone."""
    issued = ready.enrolled()
    number = issued.intent.serial.number
    hold.hold(ready.authority, issued.intent.serial, "ops")
    base, _ = keep(ready)
    assert entries(base)[number][0] is x509.ReasonFlags.certificate_hold
    ready.clock.forward(seconds=1)
    hold.release(ready.authority, issued.intent.serial, "ops")
    full, delta = with_delta(ready)
    assert entries(delta) == {number: (x509.ReasonFlags.remove_from_crl, ready.clock().replace(microsecond=0))}
    assert entries(full) == {} == combined(base, delta)


def test_what_was_held_and_released_between_two_lists_is_in_neither(ready: Stage) -> None:
    base, _ = keep(ready)
    issued = ready.enrolled()
    hold.hold(ready.authority, issued.intent.serial, "ops")
    hold.release(ready.authority, issued.intent.serial, "ops")
    full, delta = with_delta(ready)
    assert entries(full) == {} == combined(base, delta)


STEPS = st.lists(
    st.tuples(st.sampled_from(["revoke", "compromise", "hold", "release", "publish"]), st.integers(0, 4)),
    max_size=24,
)


@given(steps=STEPS, longest=st.integers(1, 4))
@settings(max_examples=12)
def test_base_and_delta_are_the_full_list(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], longest: int
) -> None:
    """Whatever was revoked, held and released in between, and wherever the lists were cut."""
    stage = Stage(tmp_path_factory.mktemp("deltas"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lists, "LONGEST_DELTA", longest)
        try:
            stage.agent()
            stage.task()
            issued = [stage.enrolled() for _ in range(5)]
            fulls = [keep(stage)[0]]
            for what, which in [*steps, ("publish", 0)]:
                stage.clock.forward(seconds=1)
                _take(stage, what, issued[which])
                if what == "publish":
                    full, delta = keep(stage)
                    if delta is not None and full.number == delta.number:
                        assert delta.base is not None
                        [base] = {one.number: one for one in fulls if one.number == delta.base.number}.values()
                        assert combined(base, delta) == entries(full)
                    fulls.append(full)
        finally:
            stage.close()


def _take(stage: Stage, what: str, issued: Issued) -> None:
    serial = issued.intent.serial
    try:
        match what:
            case "revoke":
                revoke.revoke_serial(stage.authority, serial, x509.ReasonFlags.superseded, "ops")
            case "compromise":
                revoke.revoke_serial(stage.authority, serial, x509.ReasonFlags.key_compromise, "ops")
            case "hold":
                hold.hold(stage.authority, serial, "ops")
            case "release":
                hold.release(stage.authority, serial, "ops")
            case _:
                pass
    except Refused:
        pass  # revoked for good: it stays so
