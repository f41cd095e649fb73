"""What waits, and who is at work."""

import time
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from threading import Event

import pytest

from ca.hsm import TokenFault
from ca.hsm.calls import Call, Full, Post, Waiting, joined
from ca.refusals import Reason

from .conftest import until

NOW = 0.0  # long past: nobody waits


def idle() -> Call:
    return Call(lambda: None)


def test_first_come_first_served_and_no_more_than_wanted() -> None:
    waiting, calls = Waiting(10), [idle() for _ in range(5)]
    for call in calls:
        waiting.put(call)
    assert waiting.take(NOW, 3) == calls[:3]
    assert waiting.take(NOW, 3) == calls[3:]
    assert waiting.take(NOW, 3) == []


def test_it_is_bounded_by_signatures_and_all_or_none_wait() -> None:
    waiting = Waiting(10)
    waiting.put(Call(print, weight=25))  # alone, of any size
    with pytest.raises(Full, match="25 signatures wait") as caught:
        waiting.put(idle())
    assert caught.value.reason is Reason.UNAVAILABLE
    waiting.take(NOW, 1)
    waiting.put(Call(print, weight=8))
    with pytest.raises(Full):
        waiting.put(idle(), idle(), idle())
    waiting.put(idle(), idle())
    waiting.put_anyway(idle())
    assert len(waiting.take(NOW, 10)) == 4


def test_what_is_drained_makes_room() -> None:
    waiting = Waiting(2)
    waiting.put(idle(), idle())
    assert len(waiting.drain()) == 2
    waiting.put(idle(), idle())


def test_who_waits_is_woken_by_what_comes_and_by_the_end() -> None:
    waiting = Waiting(10)
    with ThreadPoolExecutor(1) as threads:
        taker = threads.submit(waiting.take, time.monotonic() + 30, 5)
        call = idle()
        waiting.put(call)
        assert taker.result(5) == [call]
        taker = threads.submit(waiting.take, time.monotonic() + 30, 5)
        waiting.close()
        assert taker.result(5) == []
    waiting.put_anyway(idle())
    assert not waiting.is_over()
    waiting.take(time.monotonic() + 30, 1)
    assert waiting.is_over()
    assert waiting.take(time.monotonic() + 30, 1) == []


def test_a_post_answers_each_with_its_own() -> None:
    post, fault = Post(1.0), TokenFault("gone")
    calls = [Call(lambda: 1), Call(lambda: fault), Call(lambda: 3)]
    calls[2].future.cancel()
    post.serve(calls, lambda call: call.work())
    assert calls[0].future.result(0) == 1
    assert calls[1].future.exception(0) is fault
    with pytest.raises(CancelledError):
        calls[2].future.result(0)


def test_those_whose_work_is_slow_are_woken_one_by_one() -> None:
    post = Post(1.0)
    slow = Call(lambda: time.sleep(0.02))
    calls = [slow, Call(slow.future.done)]
    post.serve(calls, lambda call: call.work())
    assert calls[1].future.result(0) is True


def test_a_post_is_stuck_once_its_time_is_over_and_what_it_is_at_can_be_abandoned() -> None:
    post, go_on = Post(0.05), Event()
    stuck, behind = Call(lambda: go_on.wait(5)), idle()
    with ThreadPoolExecutor(1) as threads:
        assert not post.is_stuck
        served = threads.submit(post.serve, [stuck, behind], lambda call: call.work())
        until(lambda: post.is_stuck)
        post.abandon(TokenFault("no answer"))
        for call in (stuck, behind):
            assert str(call.future.exception(0)) == "no answer"
        go_on.set()
        served.result(5)
    assert not post.is_stuck
    # What the module said after all is heard by nobody.
    assert str(stuck.future.exception(0)) == "no answer"


def test_each_step_has_the_time_anew_and_a_call_may_have_its_own() -> None:
    post = Post(0.05)
    post.begin(patience=10.0)
    assert post.answered < post.began
    time.sleep(0.1)
    assert not post.is_stuck
    post.step()
    assert 0 < post.answered <= post.began
    until(lambda: post.is_stuck)
    post.step()
    assert not post.is_stuck
    post.rest()
    time.sleep(0.1)
    assert not post.is_stuck


def test_parts_are_joined_in_their_order() -> None:
    parts: list[Future[list[int]]] = [Future(), Future()]
    whole = joined(parts)
    parts[1].set_result([3])
    assert not whole.done()
    parts[0].set_result([1, 2])
    assert whole.result(0) == [1, 2, 3]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_fault_of_a_part_is_that_of_the_whole(order: tuple[int, int]) -> None:
    parts: list[Future[list[int]]] = [Future(), Future()]
    whole, fault = joined(parts), TokenFault("gone")
    for index in order:
        if index:
            parts[index].set_exception(fault)
        else:
            parts[index].set_result([1])
    assert whole.exception(0) is fault
    assert not whole.cancel()
