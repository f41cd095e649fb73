"""The line: who shares a transaction and a hop, who waits for whom, and what goes wrong with one alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import pytest
from sqlalchemy import event

from ca.authority import desk, line
from ca.authority.claims import Application, ByToken
from ca.authority.issuance import Issued
from ca.identifiers import AgentId, Thumbprint
from ca.pki.keys import PublicKey
from ca.policy.ceiling import Asked
from ca.policy.scope import Scope
from ca.refusals import Reason, Refused
from ca.store.certificates import State
from ca.store.status import Good, Intended
from tests.ca.authority.stage import Key, Stage, failing, new_key, request, run


class Gate:
    """A signer that holds the first batch until it is opened, and remembers how large each batch was."""

    def __init__(self, stage: Stage) -> None:
        self.opened, self.reached = threading.Event(), threading.Event()
        self.batches: list[int] = []
        self.spoil: Callable[[Future[list[bytes]]], Future[list[bytes]]] = lambda signatures: signatures
        self._signer = stage.signer
        stage.signer.instead = self

    def __call__(self, key: PublicKey, messages: Sequence[bytes]) -> Future[list[bytes]]:
        self.batches.append(len(messages))
        self.reached.set()
        assert self.opened.wait(10)
        self._signer.instead = None
        answer = self._signer.sign(key, messages)
        self._signer.instead = self
        return answer if len(messages) == 1 else self.spoil(answer)


@pytest.fixture
def gate(ready: Stage) -> Iterator[Gate]:
    made = Gate(ready)
    yield made
    made.opened.set()
    ready.authority.close()


def enrolment(stage: Stage, token: Thumbprint | None = None, key: Key | None = None, **changes: Any) -> Application:
    return Application(
        ByToken(token or stage.token()), request(key or new_key()), changes.pop("asked", Asked()), **changes
    )


def asking(stage: Stage, one: Application) -> asyncio.Task[Issued]:
    return asyncio.create_task(desk.apply(stage.authority, one))


async def outcomes(tasks: Sequence[asyncio.Task[Issued]]) -> list[Issued | BaseException]:
    return await asyncio.gather(*tasks, return_exceptions=True)


async def behind(
    gate: Gate, stage: Stage, waiting: Sequence[Application], ahead: Application | None = None
) -> list[Issued | BaseException]:
    """One certificate stands at the signer while the others gather; then all go on."""
    first = asking(stage, ahead or enrolment(stage))
    await asyncio.to_thread(gate.reached.wait, 10)
    rest = [asking(stage, one) for one in waiting]
    await asyncio.sleep(0.05)
    gate.opened.set()
    return (await outcomes([first, *rest]))[1:]


def test_what_waits_together_shares_a_hop(ready: Stage, gate: Gate) -> None:
    issued = run(behind(gate, ready, [enrolment(ready) for _ in range(20)]))
    assert all(isinstance(one, Issued) for one in issued)
    assert gate.batches == [1, 20]
    assert len(ready.issued()) == 21


def test_the_second_commit_of_a_batch_is_the_first_of_the_next(ready: Stage, gate: Gate) -> None:
    waiting = [enrolment(ready) for _ in range(8)]
    commits: list[object] = []
    event.listen(ready.database._writer, "commit", commits.append)
    run(behind(gate, ready, waiting))
    assert len(commits) == 1 + 3, (
        "a token for the first; its intent; its result with the others' intents; their results"
    )


def test_a_batch_has_an_end(ready: Stage, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "BATCH", 4)
    run(behind(gate, ready, [enrolment(ready) for _ in range(10)]))
    assert gate.batches == [1, 4, 4, 2]


def test_beyond_the_queue_a_request_is_told_to_come_back(
    ready: Stage, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 41: bounded; what is turned away has spent nothing."""
    monkeypatch.setattr(line, "MAX_WAITING", 3)
    waiting = [enrolment(ready) for _ in range(5)]
    found = run(behind(gate, ready, waiting))
    turned_away = [one for one in found if isinstance(one, Refused)]
    assert [one.reason for one in turned_away] == [Reason.UNAVAILABLE] * 2
    gate.opened.set()
    for one, outcome in zip(waiting, found, strict=True):
        if isinstance(outcome, Refused):
            assert run(desk.apply(ready.authority, one))


def test_one_token_sent_twice_at_once_gets_one_certificate(ready: Stage, gate: Gate) -> None:
    """Case 12: the same request in one batch; the second waits for the next and finds the first's certificate."""
    one = enrolment(ready)
    first, second = run(behind(gate, ready, [one, one]))
    assert isinstance(first, Issued)
    assert first == second
    assert len(ready.issued()) == 2


def test_one_token_with_two_keys_at_once_gets_one_certificate(ready: Stage, gate: Gate) -> None:
    token = ready.token()
    found = run(behind(gate, ready, [enrolment(ready, token), enrolment(ready, token)]))
    assert [getattr(one, "reason", None) for one in found].count(Reason.TOKEN_INVALID) == 1
    assert len(ready.issued()) == 2


def test_two_agents_with_one_key_at_once_do_not_share_it(ready: Stage, gate: Gate) -> None:
    """Case 10."""
    ready.agent("other")
    key = new_key()
    waiting = [enrolment(ready, key=key), enrolment(ready, ready.token("other", None), key)]
    found = run(behind(gate, ready, waiting))
    assert isinstance(found[0], Issued)
    assert isinstance(found[1], Refused)
    assert found[1].reason is Reason.KEY_REFUSED


def test_a_refusal_takes_nothing_of_the_others_with_it(ready: Stage, gate: Gate) -> None:
    refused = enrolment(ready, asked=Asked(scope=Scope.parse("admin")))
    found = run(behind(gate, ready, [enrolment(ready), refused, enrolment(ready)]))
    assert [type(one) for one in found] == [Issued, Refused, Issued]
    [entry] = ready.audited("certificate.enrol")
    assert entry.detail == {"reason": "scope-exceeded"}


def test_a_collision_within_a_batch_is_drawn_again(ready: Stage, gate: Gate) -> None:
    """Case 5: two serials alike in one batch; both get one of their own, and each is signed once."""
    first, *pair = [enrolment(ready) for _ in range(3)]
    draws = iter([bytes(18), b"the same 18 octets", b"the same 18 octets", *(b"%18d" % i for i in range(9))])
    ready.authority = ready.over(ready.database, random=lambda _: next(draws))
    ready.signer.signed.clear()
    found = [one for one in run(behind(gate, ready, pair, first)) if isinstance(one, Issued)]
    assert len({one.intent.serial for one in found}) == 2
    assert len(ready.signer.signed) == 3


def spoiled(signatures: Future[list[bytes]], index: int) -> Future[list[bytes]]:
    right, answer = signatures.result(), Future[list[bytes]]()
    answer.set_result([*right[:index], right[index][:-1] + bytes([right[index][-1] ^ 1]), *right[index + 1 :]])
    return answer


def test_one_wrong_signature_of_a_batch_is_withheld_marked_and_its_key_distrusted(ready: Stage, gate: Gate) -> None:
    """Case 7: the others leave, the wrong one never does; its serial is suspect, not good, not unknown."""
    gate.spoil = lambda signatures: spoiled(signatures, 2)
    found = run(behind(gate, ready, [enrolment(ready) for _ in range(5)]))
    assert [type(one) for one in found] == [Issued, Issued, Refused, Issued, Issued]
    assert isinstance(found[2], Refused)
    assert found[2].reason is Reason.UNAVAILABLE
    [left] = ready.unfinished()
    assert ready.state(left) is State.SUSPECT
    assert isinstance(ready.status(left), Intended)
    [entry] = ready.audited("certificate.suspect")
    assert entry.serial == str(left.serial)
    assert ready.signer.distrusted


def test_a_signer_that_is_down_costs_nobody_a_token(ready: Stage) -> None:
    """Case 24: refused before anything is spent; when it is back the same token opens."""
    one = enrolment(ready)
    ready.signer.down = "The token is gone."
    with pytest.raises(Refused) as caught:
        run(desk.apply(ready.authority, one))
    assert caught.value.reason is Reason.UNAVAILABLE
    assert ready.unfinished() == []
    ready.signer.down = None
    assert run(desk.apply(ready.authority, one))


def test_a_fault_in_the_middle_fails_its_batch_and_the_line_goes_on(ready: Stage, gate: Gate) -> None:
    gate.opened.set()
    ready.signer.instead = failing()
    waiting = [enrolment(ready) for _ in range(3)]
    found = run(together(ready, waiting))
    assert all(isinstance(one, Refused) and one.reason is Reason.UNAVAILABLE for one in found)
    ready.signer.instead = None
    again = run(together(ready, waiting))
    assert all(isinstance(one, Issued) for one in again), "the same requests get the certificates that were meant"
    assert len(ready.issued()) == 3
    assert all(ready.status(one.intent) == Good() for one in again if isinstance(one, Issued))


async def together(stage: Stage, waiting: Sequence[Application]) -> list[Issued | BaseException]:
    return await outcomes([asking(stage, one) for one in waiting])


def test_a_failed_second_commit_fails_its_batch_alone(ready: Stage, gate: Gate) -> None:
    """Case 2: the results of one batch and the intents of the next were one commit; neither is half done."""
    waiting = [enrolment(ready) for _ in range(3)]

    async def work() -> list[Issued | BaseException]:
        first = asking(ready, enrolment(ready))
        await asyncio.to_thread(gate.reached.wait, 10)
        rest = [asking(ready, one) for one in waiting]
        await asyncio.sleep(0.05)
        event.listen(ready.database._writer, "commit", full, once=True)
        gate.opened.set()
        return await outcomes([first, *rest])

    found = run(work())
    assert all(isinstance(one, Refused) and one.reason is Reason.UNAVAILABLE for one in found)
    assert len(ready.unfinished()) == 1
    gate.opened.set()
    assert all(isinstance(one, Issued) for one in run(together(ready, waiting)))


def full(_connection: object) -> None:
    raise OSError("disk full")


def test_a_caller_who_goes_away_disturbs_nobody(ready: Stage, gate: Gate) -> None:
    one = enrolment(ready)

    async def leave() -> Issued:
        first = asking(ready, enrolment(ready))
        await asyncio.to_thread(gate.reached.wait, 10)
        gone, stays = asking(ready, one), asking(ready, enrolment(ready))
        await asyncio.sleep(0.05)
        gone.cancel()
        gate.opened.set()
        await first
        return await stays

    assert run(leave())
    assert run(desk.apply(ready.authority, one)), "and coming back gets the certificate that was made meanwhile"
    assert len(ready.issued()) == 3


def test_closing_finishes_what_waits_and_refuses_what_comes(ready: Stage) -> None:
    gate = Gate(ready)
    waiting = [enrolment(ready) for _ in range(3)]

    async def close() -> list[Issued | BaseException]:
        asked = [asking(ready, one) for one in waiting]
        await asyncio.to_thread(gate.reached.wait, 10)
        closing = asyncio.create_task(asyncio.to_thread(ready.authority.close))
        await asyncio.sleep(0.05)
        gate.opened.set()
        await closing
        return await outcomes([*asked, asking(ready, enrolment(ready))])

    *done, late = run(close())
    assert all(isinstance(one, Issued) for one in done)
    assert isinstance(late, Refused)
    assert late.reason is Reason.UNAVAILABLE


def test_an_unknown_token_among_others_is_not_audited(ready: Stage, gate: Gate) -> None:
    stranger = enrolment(ready, Thumbprint.of(b"guessed"))
    found = run(behind(gate, ready, [stranger, enrolment(ready)]))
    assert isinstance(found[0], Refused)
    assert isinstance(found[1], Issued)
    assert ready.audited("certificate.enrol") == []


class TestIdempotency:
    """Sent again with the same key, a request gets the same certificate (case 2)."""

    def test_a_new_token_and_the_same_key_get_the_same_certificate(self, ready: Stage) -> None:
        key = new_key()
        first = self.send(ready, "start-1", key)
        second_token = ready.token()
        assert self.send(ready, "start-1", key, second_token) == first
        assert len(ready.issued()) == 1
        assert ready.enrol(second_token), "which costs no second token"

    def test_another_request_with_the_key_is_refused(self, ready: Stage) -> None:
        self.send(ready, "start-1", new_key())
        with pytest.raises(Refused) as caught:
            self.send(ready, "start-1", new_key())
        assert caught.value.reason is Reason.IDEMPOTENCY_MISMATCH
        assert len(ready.issued()) == 1

    def test_another_scope_is_another_request(self, ready: Stage) -> None:
        key = new_key()
        self.send(ready, "start-1", key)
        with pytest.raises(Refused) as caught:
            self.send(ready, "start-1", key, asked=Asked(scope=Scope.parse("read")))
        assert caught.value.reason is Reason.IDEMPOTENCY_MISMATCH

    def test_another_idempotency_key_is_another_certificate(self, ready: Stage) -> None:
        key = new_key()
        assert self.send(ready, "start-1", key) != self.send(ready, "start-2", key)

    def test_two_agents_may_use_one_idempotency_key(self, ready: Stage) -> None:
        """Nor does one learn of the other."""
        ready.agent("other")
        first = self.send(ready, "start-1", new_key())
        second = self.send(ready, "start-1", new_key(), ready.token("other", None))
        assert second.intent.holder == AgentId("other")
        assert first != second

    def test_what_a_fault_left_is_finished_by_the_same_key(self, ready: Stage) -> None:
        key = new_key()
        ready.signer.instead = failing()
        with pytest.raises(Refused):
            self.send(ready, "start-1", key)
        ready.signer.instead = None
        [left] = ready.unfinished()
        assert self.send(ready, "start-1", key).intent.serial == left.serial

    def test_at_once_they_get_one_certificate(self, ready: Stage, gate: Gate) -> None:
        key = new_key()
        waiting = [enrolment(ready, key=key, idempotency_key="start-1") for _ in range(4)]
        found = run(behind(gate, ready, waiting))
        assert len({one.der for one in found if isinstance(one, Issued)}) == 1
        assert len(ready.issued()) == 2

    def test_after_a_revocation_it_gets_nothing(self, ready: Stage) -> None:
        key = new_key()
        ready.revoke(self.send(ready, "start-1", key))
        with pytest.raises(Refused) as caught:
            self.send(ready, "start-1", key)
        assert caught.value.reason is Reason.CONFLICT

    def test_after_the_certificate_expired_the_key_is_free(self, ready: Stage) -> None:
        key = new_key()
        first = self.send(ready, "start-1", key)
        ready.clock.forward(minutes=16)
        assert self.send(ready, "start-1", key) != first

    @staticmethod
    def send(
        stage: Stage, idempotency_key: str, key: Key, token: Thumbprint | None = None, asked: Asked | None = None
    ) -> Issued:
        one = enrolment(stage, token, key, idempotency_key=idempotency_key, asked=asked or Asked())
        sending: Coroutine[Any, Any, Issued] = desk.apply(stage.authority, one)
        return run(sending)
