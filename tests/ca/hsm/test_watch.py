"""A thread that gets no answer, and those that wait for it."""

import time
from collections.abc import Iterator

import pytest
import structlog

from ca.hsm import TokenFault
from ca.hsm.calls import Call, Post, Waiting
from ca.hsm.watch import Bench, Watch

from .conftest import until


@pytest.fixture
def bench() -> Bench:
    return Bench(Waiting(10), [Post(0.05), Post(0.05)])


@pytest.fixture
def watch(bench: Bench) -> Iterator[Watch]:
    watch = Watch(0.05, [bench])
    watch.start()
    yield watch
    watch.stop()


def test_while_everybody_gets_answers_nothing_is_failed(bench: Bench, watch: Watch) -> None:
    waiting = Call(print)
    bench.waiting.put(waiting)
    time.sleep(0.2)
    assert not waiting.future.done()
    assert (watch.hanging(), watch.faults()) == (None, [])


def test_one_that_hangs_is_said_and_the_others_go_on(bench: Bench, watch: Watch) -> None:
    waiting = Call(print)
    bench.waiting.put(waiting)
    bench.posts[0].begin()
    bench.posts[1].rest()  # got an answer meanwhile
    until(lambda: watch.faults() != [])
    assert "1 of 2 threads" in watch.faults()[0]
    assert watch.hanging() is None
    time.sleep(0.1)
    assert not waiting.future.done()
    bench.posts[0].rest()
    assert watch.faults() == []


def test_when_nobody_gets_an_answer_nobody_waits_any_more(bench: Bench, watch: Watch) -> None:
    waiting = Call(print)
    bench.waiting.put(waiting)
    bench.posts[1].rest()
    with structlog.testing.capture_logs() as logs:
        bench.posts[0].begin()
        fault = waiting.future.exception(5)
        time.sleep(0.1)
    assert isinstance(fault, TokenFault)
    assert "has not answered for 0.05 seconds" in str(fault)
    assert watch.hanging() == str(fault)
    assert [line["event"] for line in logs] == ["token_hangs"]
    # The other asks, and is answered: the module is there.
    bench.posts[1].begin()
    bench.posts[1].rest()
    assert watch.hanging() is None
