"""The owner: one thread, one login, and what happens when the token goes and comes back."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event, get_ident
from typing import Any

import pytest
from pkcs11 import Attribute, KeyType, ObjectClass, exceptions

from ca.hsm import KeyKind, State, TokenFault, keys
from ca.hsm import owner as room
from ca.hsm.calls import Call, Limits
from ca.hsm.owner import Owner
from ca.pki.keys import InvalidSignature, spki, verify
from softhsm.locate import find_module

from .conftest import LABEL, Home, signs, until

CHECKOUT = Path(__file__).parents[3]


def submit(owner: Owner, work: Callable[[], Any]) -> Future[Any]:
    """Work for the owner's thread."""
    return owner._ask(Call(work))


# One thread.


def test_eight_threads_and_every_signature_verifies(owner: Owner) -> None:
    public_keys = [owner.generate(kind.value, kind) for kind in (KeyKind.P256, KeyKind.P384, KeyKind.ED25519)]

    def work(thread: int) -> int:
        for round_ in range(60):
            public_key = public_keys[(thread + round_) % len(public_keys)]
            messages = [f"{thread} {round_} {n}".encode() for n in range(3)]
            for signature, message in zip(owner.sign(public_key, messages).result(), messages, strict=True):
                verify(public_key, signature, message)
        return 60

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8))) == 480


def test_the_module_is_called_by_one_thread_alone(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[int] = set()

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            seen.add(get_ident())
            return function(*arguments, **named)

        return call

    monkeypatch.setattr(room, "open_token", watched(room.open_token))
    monkeypatch.setattr(keys, "find", watched(keys.find))
    monkeypatch.setattr(keys.SigningKey, "sign", watched(keys.SigningKey.sign))
    owner = home.owner()
    owner.start()
    public_key = owner.generate("issuing")
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda _: signs(owner, public_key), range(8)))
    owner.close()
    assert len(seen) == 1
    assert get_ident() not in seen


def test_calls_that_wait_are_answered_together(owner: Owner) -> None:
    public_key = owner.generate("issuing")
    at_work, go_on = Event(), Event()
    takes: list[int] = []
    take = owner._waiting.take

    def counted(until: float, most: int) -> list[Call]:
        calls = take(until, most)
        takes.append(len(calls))
        return calls

    owner._waiting.take = counted  # type: ignore[method-assign] # the thread's own loop is watched
    blocker = submit(owner, lambda: (at_work.set(), go_on.wait(5)))
    assert at_work.wait(5)
    waiting = [owner.sign(public_key, [b"m"]) for _ in range(50)]
    go_on.set()
    blocker.result(5)
    for future in waiting:
        verify(public_key, future.result(5)[0], b"m")
    assert 50 in takes


def test_a_call_that_was_given_up_is_not_signed(owner: Owner) -> None:
    public_key = owner.generate("issuing")
    at_work, go_on = Event(), Event()
    blocker = submit(owner, lambda: (at_work.set(), go_on.wait(5)))
    assert at_work.wait(5)
    given_up, wanted = owner.sign(public_key, [b"m"]), owner.sign(public_key, [b"m"])
    assert given_up.cancel()
    go_on.set()
    blocker.result(5)
    assert wanted.result(5)
    assert given_up.cancelled()


def test_a_fault_of_our_own_is_the_callers_and_the_thread_lives(owner: Owner) -> None:
    public_key = owner.generate("issuing")
    wrong: Any = ["not bytes"]
    with pytest.raises(TypeError):
        owner.sign(public_key, wrong).result(5)
    assert signs(owner, public_key)


def test_a_second_owner_in_one_process_is_refused(owner: Owner, home: Home) -> None:
    with pytest.raises(TokenFault, match="Another owner"):
        home.owner().start()
    assert owner.health().state is State.UP


def test_an_owner_starts_once(owner: Owner) -> None:
    with pytest.raises(RuntimeError, match="once"):
        owner.start()


def test_before_the_start_and_after_the_end_calls_fail_at_once(home: Home) -> None:
    owner = home.owner()
    owner.close()  # nothing to close
    with pytest.raises(TokenFault, match="not started"):
        owner.generate("issuing")
    owner.start()
    public_key = owner.generate("issuing")
    owner.close()
    owner.close()
    with pytest.raises(TokenFault, match="was closed"):
        owner.sign(public_key, [b"m"]).result(timeout=0)
    assert owner.health().state is State.DOWN


def test_close_answers_what_waits(home: Home) -> None:
    owner = home.owner()
    owner.start()
    public_key = owner.generate("issuing")
    waiting = [owner.sign(public_key, [b"m"]) for _ in range(300)]
    owner.close()
    for future in waiting:
        verify(public_key, future.result(timeout=0)[0], b"m")


def test_a_key_outlives_the_process_that_made_it(home: Home) -> None:
    first = home.owner()
    first.start()
    public_key = first.generate("issuing", KeyKind.P384)
    first.close()
    second = home.owner()
    second.start()
    second.adopt("issuing", public_key)
    assert signs(second, public_key)
    second.close()


# The PIN.


def test_a_wrong_pin_at_the_start_is_tried_once(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = count_openings(monkeypatch)
    wrong = Owner(find_module(), LABEL, lambda: "wrong pin")
    with pytest.raises(TokenFault, match="refused the PIN"):
        wrong.start()
    time.sleep(0.5)
    assert attempts == ["wrong pin"]
    assert wrong.health().state is State.DOWN
    right = home.owner()
    right.start()
    assert right.health().state is State.UP
    right.close()


def test_a_pin_that_was_rotated_is_tried_once_and_a_new_one_once_more(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = home.owner()
    owner.start()
    public_key = owner.generate("issuing")
    attempts = count_openings(monkeypatch)
    right = home.pin()
    home.pin_file.write_text("rotated elsewhere")
    lose(owner)
    until(lambda: attempts == ["rotated elsewhere"])
    time.sleep(1.0)  # four mends are due in this time
    assert attempts == ["rotated elsewhere"]
    assert "refused the PIN" in owner.health().sentence
    home.pin_file.write_text(right)
    until(lambda: owner.health().state is State.UP)
    assert attempts == ["rotated elsewhere", right]
    assert signs(owner, public_key)
    owner.close()


def test_a_pin_file_that_is_away_is_a_fault_and_not_the_end(home: Home) -> None:
    owner = home.owner()
    owner.start()
    public_key = owner.generate("issuing")
    right = home.pin()
    home.pin_file.unlink()
    lose(owner)
    until(lambda: "PIN cannot be read" in owner.health().sentence)
    home.pin_file.write_text(right)
    until(lambda: signs(owner, public_key))
    owner.close()


def count_openings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    attempts: list[str] = []
    real = room.open_token

    def counted(module: Path, label: str, pin: str) -> Any:
        attempts.append(pin)
        return real(module, label, pin)

    monkeypatch.setattr(room, "open_token", counted)
    return attempts


def lose(owner: Owner) -> None:
    """The module says that the session is gone."""

    def fault() -> None:
        raise exceptions.SessionHandleInvalid

    assert isinstance(submit(owner, fault).exception(5), TokenFault)


# Loss and return.


def test_the_token_is_pulled_and_comes_back(owner: Owner, home: Home) -> None:
    public_key = owner.generate("issuing")
    home.pull()
    assert isinstance(owner.sign(public_key, [b"m"]).exception(timeout=5), TokenFault)
    until(lambda: owner.health().state is State.DOWN)
    began = time.monotonic()
    for _ in range(100):
        # Down is known: the answer is there on return, nobody waits.
        assert isinstance(owner.sign(public_key, [b"m"]).exception(timeout=0), TokenFault)
    assert time.monotonic() - began < 1.0
    time.sleep(2.0)  # so that the waits between attempts have grown
    home.plug()
    assert until(lambda: owner.health().state is State.UP) < 5.0
    assert signs(owner, public_key)


def test_a_token_that_is_pulled_while_nobody_signs_is_noticed(home: Home) -> None:
    owner = home.owner(limits=Limits(pulse=0.1))
    owner.start()
    public_key = owner.generate("issuing")
    time.sleep(0.3)
    assert owner.health().state is State.UP
    home.pull()
    until(lambda: owner.health().state is State.DOWN)
    home.plug()
    until(lambda: signs(owner, public_key))
    owner.close()


def test_a_handle_that_came_to_name_another_key_is_noticed(owner: Owner) -> None:
    issuing, other = owner.generate("issuing"), owner.generate("other")
    found = owner._keyring._found
    wanted, _ = found[spki(issuing)]
    stale = keys.SigningKey("issuing", issuing, found[spki(other)][1].handle)
    submit(owner, lambda: found.update({spki(issuing): (wanted, stale)})).result(5)
    with pytest.raises(InvalidSignature):
        signs(owner, issuing)
    before = owner._token
    owner._due = 0.0  # instead of ten seconds of waiting
    submit(owner, lambda: None).result(5)
    until(lambda: owner._token is not before and signs(owner, issuing))


@pytest.mark.parametrize(
    "fault", [exceptions.SessionHandleInvalid, exceptions.ObjectHandleInvalid, exceptions.DeviceRemoved, ValueError]
)
def test_any_fault_of_the_module_opens_it_anew(owner: Owner, fault: type[Exception]) -> None:
    public_key = owner.generate("issuing")
    before = owner._token

    def failing() -> None:
        raise fault

    caught = submit(owner, failing).exception(5)
    assert isinstance(caught, TokenFault)
    assert fault.__name__ in str(caught)
    until(lambda: signs(owner, public_key))
    assert owner._token is not before


def test_calls_behind_the_loss_fail_and_none_hangs(owner: Owner) -> None:
    public_key = owner.generate("issuing")
    at_work, go_on = Event(), Event()

    def fault() -> None:
        at_work.set()
        go_on.wait(5)
        raise exceptions.DeviceRemoved

    waiting: list[Future[Any]] = [submit(owner, fault)]
    assert at_work.wait(5)
    waiting += [owner.sign(public_key, [b"m"]) for _ in range(20)]
    go_on.set()
    # Those behind it find the token closed, or already open again: an answer either way.
    for future in waiting:
        assert isinstance(future.exception(timeout=5), TokenFault | None)
    until(lambda: signs(owner, public_key))


def test_a_key_that_became_another_never_signs_again(owner: Owner, home: Home) -> None:
    """Between loss and return the two private halves change places."""
    issuing, other = owner.generate("issuing"), owner.generate("other")
    home.pull()
    assert isinstance(owner.sign(issuing, [b"m"]).exception(timeout=5), TokenFault)
    swap_in_another_process(home, home.pulled)
    home.plug()
    until(lambda: owner.health().state is not State.DOWN)
    assert owner.health().state is State.DEGRADED
    assert "is not the private half" in owner.health().sentence
    for public_key in (issuing, other):
        with pytest.raises(TokenFault, match="is missing from the token"):
            owner.sign(public_key, [b"m"]).result(5)
    swap_in_another_process(home, home.tokens)
    until(lambda: owner.health().state is State.UP)
    assert signs(owner, issuing)
    assert signs(owner, other)


def swap_in_another_process(home: Home, tokens: Path) -> None:
    configuration = home.path / "other.conf"
    configuration.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\n")
    script = """
import sys
from pathlib import Path
from pkcs11 import Attribute, ObjectClass
from ca.hsm.token import open_token
from softhsm.locate import find_module
token = open_token(find_module(), sys.argv[1], Path(sys.argv[2]).read_text())
with token.writing() as session:
    first, second = (
        session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=label) for label in ("issuing", "other")
    )
    first[Attribute.ID], second[Attribute.ID] = second[Attribute.ID], first[Attribute.ID]
token.close()
"""
    command = [sys.executable, "-c", script, LABEL, str(home.pin_file)]
    variables = os.environ | {"SOFTHSM2_CONF": str(configuration)}
    subprocess.run(command, cwd=CHECKOUT, env=variables, check=True, timeout=30)


def test_one_missing_key_leaves_the_others_signing(home: Home) -> None:
    owner = home.owner()
    owner.start()
    kept, gone = owner.generate("kept"), owner.generate("gone")

    def destroy() -> None:
        with owner._open_token().writing() as session:
            session.get_key(object_class=ObjectClass.PRIVATE_KEY, label="gone").destroy()

    submit(owner, destroy).result(5)
    assert isinstance(owner.sign(gone, [b"m"]).exception(timeout=5), TokenFault)
    until(lambda: owner.health().state is State.DEGRADED)
    assert "'gone'" in owner.health().sentence
    assert signs(owner, kept)
    assert not signs(owner, gone)
    owner.close()


def test_a_key_that_could_leave_is_not_adopted(home: Home) -> None:
    token = home.open()
    with token.writing() as session:
        domain = {Attribute.EC_PARAMS: keys._CURVES[KeyKind.P256]}
        public, _ = session.create_domain_parameters(KeyType.EC, domain, local=True).generate_keypair(
            id=b"open", store=True, private_template={Attribute.EXTRACTABLE: True}
        )
        public_key = keys._public_key(public, KeyKind.P256)
    token.close()
    owner = home.owner()
    owner.start()
    with pytest.raises(TokenFault, match="CKA_EXTRACTABLE must be false"):
        owner.adopt("issuing", public_key)
    with pytest.raises(TokenFault, match="was not adopted"):
        owner.sign(public_key, [b"m"]).result(5)
    owner.close()


# A module that hangs, and a fork.


def test_a_module_that_hangs_hangs_nobody(home: Home) -> None:
    """SoftHSM waits for the locks on its files, so whoever holds them stops it."""
    owner = home.owner(limits=Limits(stuck=0.5))
    owner.start()
    public_key = owner.generate("issuing")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCKS, str(home.tokens)], stdout=subprocess.PIPE, stdin=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        caught, behind = owner.sign(public_key, [b"m"]), owner.sign(public_key, [b"m"])
        until(lambda: owner.health().state is State.DOWN)
        assert "has not answered" in owner.health().sentence
        assert isinstance(owner.sign(public_key, [b"m"]).exception(timeout=0), TokenFault)
        for future in (caught, behind):
            assert isinstance(future.exception(timeout=5), TokenFault)
        holder.kill()
    until(lambda: signs(owner, public_key))
    owner.close()


HOLD_LOCKS = """
import fcntl, sys
from pathlib import Path
held = [open(path, "r+") for path in Path(sys.argv[1]).rglob("*") if path.is_file()]
for file in held:
    fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""

FORK = """
import os, sys
from pathlib import Path
from ca.hsm import State, TokenFault
from ca.hsm.owner import Owner
from ca.pki.keys import verify
from softhsm.locate import find_module

def refused(work):
    try:
        work()
    except TokenFault as fault:
        return str(fault)
    return "did it"

make = lambda: Owner(find_module(), sys.argv[1], Path(sys.argv[2]).read_text)
owner = make()
owner.start()
public_key = owner.generate("issuing")
child = os.fork()
if child == 0:
    print(refused(owner.sign(public_key, [b"m"]).result))
    print(refused(lambda: owner.generate("mine")))
    print(refused(lambda: owner.adopt("issuing", public_key)))
    print(owner.health().state)
    print(refused(make().start))
    owner.close()
    sys.stdout.flush()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
verify(public_key, owner.sign(public_key, [b"m"]).result()[0], b"m")
print(owner.health().state, flush=True)
owner.close()
"""


def test_a_forked_child_refuses_and_its_parent_goes_on(home: Home) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORK, LABEL, str(home.pin_file)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    forked = "This process was forked from the one that opened the token; open it after the fork."
    another = "Another owner uses the PKCS#11 module of this process; there must be one, made after fork."
    assert done.stdout.splitlines() == [forked, forked, forked, "down", another, "up"]
