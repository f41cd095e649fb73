"""What a PKCS#11 module may do wrong, done wrong by the shim in front of a real token, and how the owner takes it."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
import structlog

from ca.hsm import KeyKind, State, TokenFault
from ca.hsm.calls import Full, Limits
from ca.hsm.owner import Owner
from ca.hsm.token import PinRefused, open_token
from ca.pki.keys import InvalidSignature, PublicKey, verify
from tests.faults.shim import Fault, Shim

from .conftest import LABEL, Home, signs, started, until

WRONG = [Fault.FLIP, Fault.EMPTY, Fault.SWAP, Fault.OTHER_KEY, Fault.OTHER_BYTES]
KINDS = [KeyKind.P256, KeyKind.P384, KeyKind.ED25519, KeyKind.RSA_2048]
LOSSES = [fault for fault in Fault if fault > Fault.KILL_AFTER]
SESSIONS = [1, 3]


@pytest.fixture(params=SESSIONS, ids=["one session", "three sessions"])
def owner(request: pytest.FixtureRequest, faulty: Home) -> Iterator[Owner]:
    """Both modes of the signer keep the same promises."""
    with started(faulty.owner(request.param)) as owner:
        yield owner


def outcome(owner: Owner, public_key: PublicKey) -> str:
    """What became of one signature: right, wrong (it does not verify), or refused."""
    future = owner.sign(public_key, [b"m"])
    if isinstance(future.exception(timeout=10), TokenFault):
        return "refused"
    try:
        verify(public_key, future.result()[0], b"m")
    except InvalidSignature:
        return "wrong"
    return "right"


# The shim itself: what it is told happens, and what it says is so.


def test_the_shim_passes_everything_on_and_counts(faulty: Home, shim: Shim) -> None:
    with started(faulty.owner()) as owner:
        public_key = owner.generate("issuing", KeyKind.ED25519)
        before = shim.counts()
        owner.sign(public_key, [b"one", b"two"]).result(5)
        after = shim.counts()
    assert after.sign - before.sign == 2
    assert (after.login, after.logout, after.initialize_flags, after.unlocked) == (1, 0, 0, 0)
    assert shim.counts().open_now == 0
    last = shim.signed()[-2:]
    assert [(one.label, one.data) for one in last] == [("issuing", b"one"), ("issuing", b"two")]


def test_the_log_of_ecdsa_holds_the_digest(faulty: Home, shim: Shim) -> None:
    with started(faulty.owner()) as owner:
        for kind in (KeyKind.P256, KeyKind.P384, KeyKind.RSA_2048):
            owner.sign(owner.generate("issuing", kind), [b"message"]).result(5)
            assert shim.signed()[-1].is_over(b"message")
            assert not shim.signed()[-1].is_over(b"another")


def test_a_fault_comes_when_and_as_often_as_it_was_told(faulty: Home, shim: Shim) -> None:
    with started(faulty.owner()) as owner:
        public_key = owner.generate("issuing")
        shim.fail(Fault.FLIP, times=2, skip=1)
        assert [outcome(owner, public_key) for _ in range(4)] == ["right", "wrong", "wrong", "right"]
    assert shim.counts().injected == 2


# A wrong signature (case 7).


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_signature_never_verifies(faulty: Home, shim: Shim, kind: KeyKind, fault: Fault) -> None:
    with started(faulty.owner()) as owner:
        public_key, _ = owner.generate("issuing", kind), owner.generate("other", kind)
        shim.fail(fault)
        assert outcome(owner, public_key) == ("refused" if fault is Fault.EMPTY else "wrong")
        shim.clear()
        until(lambda: signs(owner, public_key))


def test_a_distrusted_key_is_out_at_once_and_comes_back_proved(owner: Owner, shim: Shim) -> None:
    issuing, other = owner.generate("issuing"), owner.generate("other")
    assert signs(owner, issuing)
    with structlog.testing.capture_logs() as logs:
        owner.distrust(issuing, "a signature did not verify.")
        assert isinstance(owner.sign(issuing, [b"m"]).exception(timeout=0), TokenFault)
    assert [(line["log_level"], line["event"]) for line in logs[:1]] == [("critical", "key_distrusted")]
    assert owner.health().state is State.DEGRADED
    assert owner.health().sentence == "The key 'issuing' is out of service: a signature did not verify."
    assert signs(owner, other)
    tests_before = shim.counts().sign
    until(lambda: owner.health().state is State.UP)
    assert shim.counts().sign > tests_before
    assert signs(owner, issuing)


def test_a_distrusted_key_stays_out_while_its_signatures_are_wrong(owner: Owner, shim: Shim) -> None:
    issuing = owner.generate("issuing")
    shim.fail(Fault.OTHER_BYTES)
    owner.distrust(issuing, "a signature did not verify.")
    owner.distrust(issuing, "said twice.")
    until(lambda: shim.counts().injected >= 3)  # tried three times
    assert owner.health().state is State.DEGRADED
    assert "said twice" not in owner.health().sentence
    assert isinstance(owner.sign(issuing, [b"m"]).exception(timeout=0), TokenFault)
    shim.clear()
    until(lambda: signs(owner, issuing))


def test_what_waits_for_a_key_that_is_distrusted_meanwhile_is_not_signed(faulty: Home, shim: Shim) -> None:
    with started(faulty.owner()) as owner:
        issuing = owner.generate("issuing")
        shim.slow(0.3)
        at_work, waiting = owner.sign(issuing, [b"1"]), owner.sign(issuing, [b"2"])
        until(at_work.running)
        owner.distrust(issuing, "a signature did not verify.")
        assert isinstance(waiting.exception(5), TokenFault)


def test_an_unknown_key_is_not_distrusted(owner: Owner, faulty: Home) -> None:
    stranger = owner.generate("issuing")
    with structlog.testing.capture_logs() as logs:
        Owner(faulty.module, LABEL, faulty.pin).distrust(stranger, "why")
    assert logs == []


# Loss and return (cases 24, 25).


@pytest.mark.parametrize("fault", LOSSES)
def test_after_any_fault_it_signs_again(owner: Owner, shim: Shim, fault: Fault) -> None:
    public_key = owner.generate("issuing")
    assert signs(owner, public_key)
    shim.fail(fault, times=1)
    assert outcome(owner, public_key) in ("refused", "right")
    until(lambda: signs(owner, public_key))
    assert shim.counts().injected == 1
    assert shim.counts().logout == 0


def test_the_token_goes_away_under_load_and_comes_back(owner: Owner, shim: Shim) -> None:
    public_key = owner.generate("issuing")
    stop, slowest, outcomes = Event(), [0.0], []

    def work(_: int) -> None:
        while not stop.is_set():
            began = time.monotonic()
            outcomes.append(outcome(owner, public_key))
            slowest.append(time.monotonic() - began)
            stop.wait(0.002)

    with ThreadPoolExecutor(4) as threads:
        running = threads.map(work, range(4))
        time.sleep(0.3)
        shim.pull()
        until(lambda: owner.health().state is State.DOWN)
        assert isinstance(owner.sign(public_key, [b"m"]).exception(timeout=0), TokenFault)
        time.sleep(1.5)  # so that the waits between attempts have grown
        shim.plug()
        recovered = until(lambda: owner.health().state is State.UP)
        until(lambda: outcomes[-1] == "right")
        stop.set()
        list(running)
    assert recovered < 5.0
    assert "wrong" not in outcomes
    assert {"right", "refused"} == set(outcomes)
    assert max(slowest) < 2.0, "nobody waited for the token to come back"


def test_a_handle_that_names_another_key_after_the_return_signs_nothing(owner: Owner, shim: Shim) -> None:
    issuing, other = owner.generate("issuing"), owner.generate("other")
    shim.pull()
    assert outcome(owner, issuing) == "refused"
    shim.fail(Fault.OTHER_KEY)
    shim.plug()
    until(lambda: owner.health().state is State.DEGRADED)
    assert "is not the private half" in owner.health().sentence
    assert [outcome(owner, key) for key in (issuing, other)] == ["refused", "refused"]
    shim.clear()
    until(lambda: owner.health().state is State.UP)
    assert [outcome(owner, key) for key in (issuing, other)] == ["right", "right"]


def test_sessions_that_ended_by_themselves_are_opened_anew(owner: Owner, shim: Shim) -> None:
    public_key = owner.generate("issuing")
    assert signs(owner, public_key)
    shim.expire()
    until(lambda: signs(owner, public_key))
    assert shim.counts().login == 2


# The PIN and the handles (case 26).


def test_a_wrong_pin_is_sent_once(faulty: Home, shim: Shim) -> None:
    wrong = Owner(faulty.module, LABEL, lambda: "wrong pin")
    with pytest.raises(TokenFault, match="refused the PIN"):
        wrong.start()
    assert (shim.counts().login, shim.counts().open_now) == (1, 0)


def test_a_pin_that_was_rotated_while_running_is_sent_once(owner: Owner, faulty: Home, shim: Shim) -> None:
    public_key, right = owner.generate("issuing"), faulty.pin()
    faulty.pin_file.write_text("rotated elsewhere")
    shim.expire()
    assert outcome(owner, public_key) == "refused"
    until(lambda: "refused the PIN" in owner.health().sentence)
    time.sleep(1.0)  # four attempts are due in this time
    assert shim.counts().login == 2
    faulty.pin_file.write_text(right)
    until(lambda: signs(owner, public_key))
    assert shim.counts().login == 3


def test_a_thousand_refused_pins_leave_no_session(faulty: Home, shim: Shim) -> None:
    for _ in range(1000):
        with pytest.raises(PinRefused):
            open_token(faulty.module, LABEL, "wrong pin")
    assert (shim.counts().login, shim.counts().open_now) == (1000, 0)


def test_a_thousand_ended_sessions_leave_no_other(faulty: Home, shim: Shim) -> None:
    with started(faulty.owner(sessions=2)) as owner:
        public_key = owner.generate("issuing")
        assert signs(owner, public_key)
        for _ in range(1000):
            shim.fail(Fault.SESSION_CLOSED, times=1)
            assert signs(owner, public_key)
        counts = shim.counts()
    assert counts.injected == 1000
    assert counts.open_now <= 3
    assert (counts.login, counts.logout) == (1, 0)


# Hanging, and too much at once.


def test_a_hang_is_found_out_and_nobody_waits_for_it(faulty: Home, shim: Shim) -> None:
    with started(faulty.owner(limits=Limits(stuck=0.4))) as owner:
        public_key = owner.generate("issuing")
        shim.hang()
        waiting = [owner.sign(public_key, [b"m"]) for _ in range(20)]
        assert until(lambda: owner.health().state is State.DOWN) < 2.0
        for future in waiting:
            assert isinstance(future.exception(timeout=2), TokenFault)
        assert isinstance(owner.sign(public_key, [b"m"]).exception(timeout=0), TokenFault)
        shim.clear()
        until(lambda: signs(owner, public_key))


def test_sessions_that_all_hang_are_a_hang(faulty: Home, shim: Shim) -> None:
    with started(faulty.owner(sessions=2, limits=Limits(stuck=0.4))) as owner:
        public_key = owner.generate("issuing")
        assert signs(owner, public_key)
        shim.hang()
        waiting = [owner.sign(public_key, [b"1", b"2"]) for _ in range(5)]
        until(lambda: owner.health().state is State.DOWN)
        for future in waiting:
            assert isinstance(future.exception(timeout=2), TokenFault)
        shim.clear()
        until(lambda: signs(owner, public_key))


def test_what_is_slow_is_not_taken_for_hanging(faulty: Home, shim: Shim) -> None:
    with started(faulty.owner(limits=Limits(stuck=0.5))) as owner:
        public_key = owner.generate("issuing", KeyKind.ED25519)
        shim.slow(0.1)
        assert len(owner.sign(public_key, [b"m"] * 10).result(5)) == 10
        assert owner.health().state is State.UP


@pytest.mark.parametrize("sessions", SESSIONS)
def test_beyond_what_may_wait_a_call_fails_at_once(faulty: Home, shim: Shim, sessions: int) -> None:
    with started(faulty.owner(sessions, Limits(waiting=10))) as owner:
        public_key = owner.generate("issuing")
        assert signs(owner, public_key)
        shim.slow(0.05)
        futures = [owner.sign(public_key, [b"m"]) for _ in range(30)]
        refused = [future for future in futures if future.done() and isinstance(future.exception(), Full)]
        assert 10 <= len(refused) <= 20
        for future in futures:
            if future not in refused:
                verify(public_key, future.result(5)[0], b"m")
        # One that comes alone may be larger than what may wait.
        assert len(owner.sign(public_key, [b"m"] * 20).result(10)) == 20
