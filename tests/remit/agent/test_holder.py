"""Who holds a credential: against the running authority, over a wire that fails, and after a script."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from remit.authority import Authority, Draft
from remit.credential import Credential
from remit.failed import Failed
from remit.holder import Holder, clock
from remit.proof import Proofs, Unproven
from remit.upkeep import FLOOR, SELDOM, State
from tests.relay import Relay, relayed
from tests.world import CHECKOUT, World


@pytest.fixture
def relay(brief: World) -> Iterator[Relay]:
    with relayed(brief.api_url) as wire:
        yield wire


def holder(world: World, url: str, proof: Any = None, **options: Any) -> Holder:
    proof = world.token(world.new_agent()) if proof is None else proof
    return Holder(Authority(url, root=world.root_pem.read_bytes()), Proofs(proof), **options)


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_first_certificate_takes_one_connection_and_the_root_one_more(brief: World, relay: Relay) -> None:
    holder(brief, relay.url).obtain()
    assert relay.connections == 1
    pinned = Authority(relay.url, root_fingerprint=brief.root_fingerprint)
    Holder(pinned, Proofs(brief.token(brief.new_agent()))).obtain()
    assert relay.connections == 3


def test_a_lost_answer_costs_nothing(brief: World, relay: Relay) -> None:
    """The token was spent on a key; only a request with the same key gets the certificate."""
    relay.losing = 1
    name = brief.new_agent()
    one = holder(brief, relay.url, brief.token(name))
    one.obtain()
    assert relay.lost == 1
    assert [item["serial"] for item in brief.json("cert", "list", "--agent", name)] == [one.credential.serial]
    relay.losing = 1
    with pytest.raises(Failed, match="did not answer"):
        one.renew()
    assert (one.state, relay.lost) == (State.FRESH, 2)
    renewed = one.renew()
    assert len(brief.json("cert", "list", "--agent", name)) == 2, "the renewal that was lost is the one that is held"
    assert one.credential is renewed
    assert one.sentence == ""


def test_a_disk_that_fails_is_a_try_that_failed_and_loses_nothing(
    brief: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = brief.new_agent()
    one = holder(brief, brief.api_url, brief.token(name), directory=tmp_path)
    with monkeypatch.context() as broken:

        def full(*_arguments: Any) -> None:
            raise OSError(28, "No space left on device")

        broken.setattr("remit.files.write", full)
        with pytest.raises(Failed, match="No space left"):
            one.renew()
        assert (one.state, one.sentence[:27]) == (State.NONE, "The certificate could not b")
    assert one.obtain().chain == (tmp_path / "tls.crt").read_bytes()
    assert len(brief.json("cert", "list", "--agent", name)) == 1


def test_it_renews_by_itself_with_a_new_key_each_time(brief: World) -> None:
    got: list[Credential] = []
    one = holder(brief, brief.api_url)
    first = one.obtain()
    one.on_credential(lambda _credential: 1 / 0)
    one.on_credential(got.append)
    one.start()
    until(lambda: len(got) == 2)
    one.close()
    assert len({first.key, *(credential.key for credential in got)}) == 3
    assert got[1].since < got[0].not_after, "old and new overlap"
    assert one.credential is got[1]


def test_whatever_goes_wrong_the_renewals_go_on(brief: World, caplog: pytest.LogCaptureFixture) -> None:
    faults = iter([ZeroDivisionError])

    class Faulty(Scripted):
        def renew(self, draft: Draft, credential: Credential, asked: dict[str, Any]) -> dict[str, Any]:
            for fault in faults:
                raise fault
            return super().renew(draft, credential, asked)

    one = Holder(Faulty(brief), Proofs(brief.token(brief.new_agent())), chance=lambda: 0.0)
    first = one.obtain()
    one.start()
    until(lambda: "ZeroDivisionError" in one.sentence)
    until(lambda: one.credential is not first)
    one.close()
    assert "ZeroDivisionError" in caplog.text


def test_a_worker_that_was_forked_renews_for_itself(brief: World, tmp_path: Path) -> None:
    """Of its own process: here are threads of others."""
    program = f"""
import os, sys, time, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from remit import Agent
me = Agent.enroll({brief.api_url!r}, root={str(brief.root_pem)!r}, token={brief.token(brief.new_agent())!r})
first = me.credential.serial
worker = os.fork()
end = time.monotonic() + 9
while me.credential.serial == first and time.monotonic() < end:
    time.sleep(0.05)
if worker:
    os.waitpid(worker, 0)
Path({str(tmp_path)!r}, "worker" if worker == 0 else "parent").write_text(me.credential.serial)
assert me.credential.serial != first
"""
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": str(CHECKOUT)})
    assert (tmp_path / "worker").read_text() != (tmp_path / "parent").read_text()


def test_a_listener_may_renew(world: World) -> None:
    one, seen = holder(world, world.api_url), list[str]()
    one.obtain()
    one.on_credential(lambda credential: seen.append(credential.serial) or (len(seen) < 2 and one.renew()))
    one.renew()
    assert len(set(seen)) == 2


@pytest.mark.slow
def test_while_the_authority_is_away_the_old_one_serves_to_its_end_and_then_a_proof_that_repeats_brings_another(
    brief: World, relay: Relay, tmp_path: Path
) -> None:
    name, proof = brief.new_agent(), tmp_path / "token"
    proof.write_text(brief.token(name))
    one = holder(brief, relay.url, proof, chance=lambda: 0.05)
    first = one.obtain()
    one.start()
    relay.cut = True
    until(lambda: one.state is State.OVERDUE and one.sentence != "")
    assert one.credential is first
    assert clock() < one.next_try < first.not_after
    until(lambda: one.state is State.EXPIRED)
    until(lambda: "a one-time token opens once" in one.sentence)
    relay.cut = False
    proof.write_text(brief.token(name))
    until(lambda: one.state is State.FRESH)
    assert one.credential.serial != first.serial
    one.close()


def test_the_thread_enrols_too_once_the_authority_is_there(brief: World, relay: Relay) -> None:
    relay.cut = True
    one = holder(brief, relay.url, chance=lambda: 0.05)
    one.start()
    until(lambda: one.sentence != "")
    assert one.state is State.NONE
    with pytest.raises(Failed, match="cannot be reached"):
        _ = one.credential
    relay.cut = False
    until(lambda: one.state is State.FRESH)
    one.close()


def test_a_hold_is_refused_and_once_it_is_released_all_is_well(brief: World) -> None:
    one = holder(brief, brief.api_url)
    serial = one.obtain().serial
    with brief.operator() as operator:
        assert operator.post(f"/v1/certificates/{serial}/hold").status_code == 200
        with pytest.raises(Failed) as refused:
            one.renew()
        assert refused.value.final
        assert one.state is State.REFUSED
        assert operator.post(f"/v1/certificates/{serial}/release").status_code == 200
    one.renew()
    assert one.state is State.FRESH


def test_files_of_a_certificate_that_ended_are_not_gone_on_with(brief: World, tmp_path: Path) -> None:
    first = holder(brief, brief.api_url, directory=tmp_path).obtain()
    again = holder(brief, brief.api_url, directory=tmp_path)
    assert again.obtain().serial == first.serial
    late = holder(brief, brief.api_url, directory=tmp_path, clock=lambda: clock() + timedelta(minutes=1))
    assert late.obtain().serial != first.serial


def test_files_that_cannot_be_read_are_not_gone_on_with(brief: World, tmp_path: Path) -> None:
    first = holder(brief, brief.api_url, directory=tmp_path).obtain()
    (tmp_path / "..data" / "remit.json").write_text("{")
    assert holder(brief, brief.api_url, directory=tmp_path).obtain().serial != first.serial


class Scripted(Authority):
    """Answers each call as the script says: a refusal, or whatever the real one would."""

    def __init__(self, world: World, *script: Failed) -> None:
        super().__init__(world.api_url, root=world.root_pem.read_bytes())
        self.script = list(script)
        self.asked: list[tuple[str, Draft]] = []

    def enroll(self, draft: Draft, proof: str, asked: dict[str, Any]) -> dict[str, Any]:
        self._follow("enroll", draft)
        return super().enroll(draft, proof, asked)

    def renew(self, draft: Draft, credential: Credential, asked: dict[str, Any]) -> dict[str, Any]:
        self._follow("renew", draft)
        return super().renew(draft, credential, asked)

    def _follow(self, call: str, draft: Draft) -> None:
        self.asked.append((call, draft))
        if self.script:
            raise self.script.pop(0)


BUSY = Failed("Busy.", status=503, retry_after=40)
AWAY = Failed("Away.")
REFUSED = Failed("Suspended.", "urn:remit:problem:agent-suspended", status=403)


class Clock:
    def __init__(self) -> None:
        self.now = clock()

    def __call__(self) -> datetime:
        return self.now


def scripted(world: World, script: list[Failed], proof: Any = None) -> tuple[Holder, Scripted, Clock]:
    authority, watch = Scripted(world, *script), Clock()
    proof = proof or world.token(world.new_agent())
    return Holder(authority, Proofs(proof), clock=watch, chance=lambda: 0.0), authority, watch


def test_a_retry_is_the_same_request_until_it_is_refused(world: World) -> None:
    one, authority, watch = scripted(world, [AWAY, AWAY, REFUSED])
    for _ in range(3):
        with pytest.raises(Failed):
            one.renew()
    first, second, third = (draft for _, draft in authority.asked)
    assert first is second is third
    assert one.next_try == watch.now + SELDOM * 0.8
    one.renew()
    assert authority.asked[3][1] is not first


def test_a_renewal_that_was_long_ago_is_not_repeated_but_begun_anew(world: World) -> None:
    one, authority, watch = scripted(world, [])
    one.renew()
    authority.script = [AWAY, AWAY]
    for _ in range(2):
        with pytest.raises(Failed):
            one.renew()
        watch.now += timedelta(minutes=3)
    assert authority.asked[1][1] is not authority.asked[2][1]


def test_what_the_authority_asks_for_is_waited(world: World) -> None:
    one, _, watch = scripted(world, [BUSY, AWAY])
    with pytest.raises(Failed, match="Busy"):
        one.obtain(wait=1)
    assert one.next_try == watch.now + timedelta(seconds=40)
    with pytest.raises(Failed, match="Away"):
        one.obtain(wait=0)
    assert one.next_try == watch.now + FLOOR


def test_a_refusal_for_good_is_not_waited_for(world: World) -> None:
    one, _, _ = scripted(world, [REFUSED])
    with pytest.raises(Failed, match="Suspended"):
        one.obtain(wait=60)
    assert one.state is State.REFUSED


def test_after_the_end_a_proof_that_is_a_function_enrols_anew_with_another_request(world: World) -> None:
    name = world.new_agent()
    one, authority, watch = scripted(world, [], lambda: world.token(name))
    one.renew()
    authority.script = [AWAY]
    with pytest.raises(Failed):
        one.renew()
    watch.now += timedelta(hours=1)
    assert one.state is State.EXPIRED
    one.renew()
    assert [call for call, _ in authority.asked] == ["enroll", "renew", "enroll"]
    assert authority.asked[1][1] is not authority.asked[2][1]


def test_a_clock_that_is_ahead_does_not_end_an_agent_with_a_token_of_one_use(world: World) -> None:
    """By its clock the certificate ended long ago; the authority renews it all the same."""
    one, authority, watch = scripted(world, [])
    first = one.renew()
    watch.now += timedelta(hours=1)
    assert one.renew().serial != first.serial
    authority.script = [AWAY]
    watch.now += timedelta(hours=1)
    with pytest.raises(Failed, match="Give a new token"):
        one.renew()
    assert one.state is State.EXPIRED


def test_without_a_proof_there_is_nothing_to_wait_for(world: World) -> None:
    one = Holder(Authority(world.api_url, root=world.root_pem.read_bytes()), Proofs(None))
    with pytest.raises(Unproven, match="give a token"):
        one.obtain(wait=60)
    assert one.state is State.NONE


def test_what_is_no_certificate_for_this_key_is_not_taken(world: World) -> None:
    class Confused(Scripted):
        def enroll(self, draft: Draft, proof: str, asked: dict[str, Any]) -> dict[str, Any]:
            return super().enroll(Draft(), proof, asked)

    one = Holder(Confused(world), Proofs(world.token(world.new_agent())))
    with pytest.raises(Failed, match="no certificate for this key"):
        one.renew()
