"""Several sessions that sign side by side: the mode for network HSMs. What both modes promise: `test_faults.py`."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ca.hsm import KeyKind, State, TokenFault, pool
from ca.hsm.calls import Limits
from ca.hsm.locking import CKF_OS_LOCKING_OK
from tests.faults.shim import Fault, Shim

from .conftest import Home, signs, started, until
from .test_faults import outcome

KINDS = (KeyKind.P256, KeyKind.P384, KeyKind.ED25519, KeyKind.RSA_2048)


def test_the_module_is_told_of_threads_before_there_are_any(faulty: Home, shim: Shim) -> None:
    with started(faulty.owner(sessions=2)) as owner:
        public_key = owner.generate("issuing")
        assert signs(owner, public_key)
        assert shim.counts().initialize_flags == CKF_OS_LOCKING_OK
        shim.expire()
        until(lambda: signs(owner, public_key))
        assert shim.counts().initialize_flags == CKF_OS_LOCKING_OK
    # An owner with one session makes do with none, in the same process.
    with started(faulty.owner()) as owner:
        assert signs(owner, owner.generate("issuing"))
    counts = shim.counts()
    assert (counts.initialize_flags, counts.open_now, counts.unlocked) == (0, 0, 0)


@pytest.mark.parametrize("sessions", [1, 4])
def test_eight_threads_sign_without_a_fault_and_everything_verifies(faulty: Home, shim: Shim, sessions: int) -> None:
    with started(faulty.owner(sessions)) as owner:
        public_keys = [owner.generate(kind.value, kind) for kind in KINDS]
        until_then = time.monotonic() + 2.0

        def work(thread: int) -> int:
            signed = 0
            while time.monotonic() < until_then:
                assert outcome(owner, public_keys[(thread + signed) % len(public_keys)]) == "right"
                signed += 1
            return signed

        with ThreadPoolExecutor(8) as threads:
            assert sum(threads.map(work, range(8))) > 100
    counts = shim.counts()
    assert counts.unlocked == 0, "no thread met another in a module that was told there is one"
    assert (counts.signing_peak > 1) == (sessions > 1)
    assert (counts.login, counts.logout, counts.open_now) == (1, 0, 0)


def test_a_session_that_ends_is_replaced_and_nobody_notices(faulty: Home, shim: Shim) -> None:
    with started(faulty.owner(sessions=3)) as owner:
        public_key = owner.generate("issuing")
        owner.sign(public_key, [b"m"] * 30).result(5)
        stop = threading.Event()

        def end_sessions() -> None:
            while not stop.wait(0.02):
                shim.fail(Fault.SESSION_HANDLE_INVALID, times=1)

        with ThreadPoolExecutor(5) as threads:
            killer = threads.submit(end_sessions)
            outcomes = list(threads.map(lambda _: outcome(owner, public_key), range(600)))
            stop.set()
            killer.result(5)
        counts = shim.counts()
    assert outcomes == ["right"] * 600
    assert counts.injected > 3
    # Whoever logs out, or logs in again, does it for all.
    assert (counts.login, counts.logout) == (1, 0)


def test_a_slow_hsm_signs_in_all_sessions_at_once(faulty: Home, shim: Shim) -> None:
    def seconds(sessions: int) -> float:
        with started(faulty.owner(sessions)) as owner:
            public_key = owner.generate("issuing")
            owner.sign(public_key, [b"m"] * 2 * sessions).result(5)  # every session has its handle
            shim.slow(0.02)
            began = time.monotonic()
            owner.sign(public_key, [b"m"] * 40).result(30)
            together = time.monotonic() - began
            shim.clear()
            return together

    one, four = seconds(1), seconds(4)
    assert shim.counts().signing_peak == 4
    assert one / four > 2.0, "forty signatures of 20 ms: 0.8 s in one session, a quarter of it in four"


def test_the_parts_of_a_batch_come_back_in_order(faulty: Home) -> None:
    with started(faulty.owner(sessions=3)) as owner:
        public_key = owner.generate("issuing", KeyKind.ED25519)
        for number in (0, 1, 2, 3, 4, 7, 100):
            messages = [f"{n}".encode() for n in range(number)]
            signatures = owner.sign(public_key, messages).result(5)
            assert len(signatures) == number
            for signature, message in zip(signatures, messages, strict=True):
                public_key.verify(signature, message)  # type: ignore[union-attr, call-arg] # an Ed25519 key


def test_one_bad_part_is_a_bad_batch(faulty: Home, shim: Shim) -> None:
    with started(faulty.owner(sessions=3)) as owner:
        public_key = owner.generate("issuing")
        owner.sign(public_key, [b"m"] * 6).result(5)
        shim.fail(Fault.DEVICE_ERROR, times=1)
        assert isinstance(owner.sign(public_key, [b"m"] * 6).exception(5), TokenFault)
        until(lambda: signs(owner, public_key))


def test_an_idle_session_is_kept_alive_and_proved(faulty: Home, shim: Shim) -> None:
    with started(faulty.owner(sessions=2, limits=Limits(pulse=0.2))) as owner:
        public_key = owner.generate("issuing")
        owner.sign(public_key, [b"m"] * 4).result(5)
        before = shim.counts().sign
        until(lambda: shim.counts().sign >= before + 6)  # nobody asked for these
        shim.expire()
        until(lambda: shim.counts().login == 2)  # found out by a pulse
        until(lambda: owner.health().state is State.UP)


def test_close_answers_what_waits_and_leaves_no_session(faulty: Home, shim: Shim) -> None:
    owner = faulty.owner(sessions=2)
    owner.start()
    public_key = owner.generate("issuing")
    shim.slow(0.01)
    waiting = [owner.sign(public_key, [b"m"]) for _ in range(20)]
    owner.close()
    assert all(len(future.result(timeout=0)) == 1 for future in waiting)
    assert shim.counts().open_now == 0
    assert isinstance(owner.sign(public_key, [b"m"]).exception(timeout=0), TokenFault)


# The floor.


def test_the_floor_is_shut_once_all_have_left() -> None:
    floor, token, left = pool.Floor(), object(), threading.Event()
    with pytest.raises(TokenFault, match="being opened"), floor.inside():
        pass
    floor.open(token)  # type: ignore[arg-type] # what it is does not matter here

    def stay() -> None:
        with floor.inside() as found:
            assert found is token
            left.wait(5)

    with ThreadPoolExecutor(1) as threads:
        inside = threads.submit(stay)
        until(lambda: floor._inside == 1)
        assert not floor.shut(0.05)
        with pytest.raises(TokenFault), floor.inside():
            pass
        left.set()
        assert floor.shut(5.0)
        inside.result(5)
