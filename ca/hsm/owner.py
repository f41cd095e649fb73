"""The one thread of a process that owns the PKCS#11 module.

    opening --> up <--> degraded (a key is missing or distrusted: the others sign, it is looked for)
                 |          |
                 +--> down <+    every call fails at once; opening is tried after 0, 0.1, ... 2, 2, ... seconds

With one session this thread makes every call. With several it initialises the module for threads,
holds the login, and makes, finds and mends; the threads of `ca.hsm.pool` sign.

Any fault of the module is taken for a loss of the token: the module is finalised, initialised,
logged into, and every key is found anew by its public half and signs a test before it is used.
That costs SoftHSM 2 ms; going on with a stale handle may cost a signature by another key.

While nothing is wrong each key signs a test every 10 seconds, so that `health` is true of an idle
token too, and a handle that came to name another key is found out.

A PIN that the token refused is not sent again until the file holds another one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from itertools import chain, repeat
from pathlib import Path
from threading import Lock, Thread
from time import monotonic, sleep
from typing import Any

import structlog
from pkcs11 import PKCS11Error

from ca.hsm import keys
from ca.hsm.calls import Call, Limits, Post, Waiting
from ca.hsm.keyring import Keyring
from ca.hsm.pool import Floor, Pool
from ca.hsm.register import Register
from ca.hsm.signer import Health, KeyKind, State, TokenFault
from ca.hsm.token import PinRefused, Token, open_token, open_token_for_threads
from ca.hsm.watch import Bench, Watch
from ca.pki.keys import PublicKey, spki, thumbprint

_BACKOFF = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0)  # seconds; the last one repeats
_FIRST = (0.0, 0.05, 0.1, 0.2)  # seconds before each attempt at start
_BATCH = 128  # calls taken together: about 10 ms of SoftHSM
_START = 60.0  # seconds for the first opening
_GENERATION = 600.0  # seconds: some tokens look for the primes of a large RSA key for minutes

# A module is initialised once for a process; a second owner would end the sessions of the first.
_SEAT = Lock()

_log = structlog.get_logger("remit.hsm")


class Owner:
    """A `Signer` over a PKCS#11 token. Make it and start it after the last fork; close it at the end."""

    def __init__(
        self, module: Path, token_label: str, pin: Callable[[], str], sessions: int = 1, limits: Limits | None = None
    ) -> None:
        self._module = module
        self._label = token_label
        self._pin = pin
        self._limits = limits or Limits()
        self._refused: tuple[str, str] | None = None  # the PIN, and what the token said
        self._pid = os.getpid()
        self._gate = Lock()
        self._waiting = Waiting(self._limits.waiting)
        self._post = Post(self._limits.stuck)
        self._register = Register()
        self._keyring = Keyring(self._register)
        self._floor = Floor()
        self._pool: Pool | None = None
        if sessions > 1:
            self._pool = Pool(sessions, self._register, self._floor, self._limits, self._lost_by)
        self._watch = Watch(self._limits.stuck, self._benches())
        self._token: Token | None = None
        self._lost_token: Token | None = None  # to be closed once no thread is in the module
        self._down = "The token is not open; the owner was not started."
        self._told: State | None = None  # what was logged; nothing is, before `start` returned
        self._thread: Thread | None = None
        self._closing = False
        self._delays = _delays()
        self._due = 0.0

    # The callers' side: any thread.

    def start(self) -> None:
        """Starts the thread, which opens the token. Raises `TokenFault` with one sentence and the mend."""
        if self._thread is not None:
            raise RuntimeError("an owner is started once")
        if not _SEAT.acquire(blocking=False):
            raise TokenFault(
                "Another owner uses the PKCS#11 module of this process; there must be one, made after fork."
            )
        self._pid = os.getpid()
        opened: Future[None] = Future()
        self._thread = Thread(target=self._run, args=(opened,), name="token-owner", daemon=True)
        self._thread.start()
        try:
            opened.result(_START)
        except TimeoutError:
            raise TokenFault(
                f"The token {self._label!r} was not open after {_START:.0f} seconds; look at it."
            ) from None

    def generate(self, label: str, kind: KeyKind = KeyKind.P256) -> PublicKey:
        """Makes a key in the token and adopts it. Blocks. Raises `TokenFault`."""
        call = Call(lambda: self._admit(keys.generate(self._open_token(), label, kind)), patience=_GENERATION)
        made: PublicKey = self._ask(call).result()
        return made

    def adopt(self, label: str, public_key: PublicKey) -> None:
        """Finds the key by its public half, checks its attributes and a test signature. Blocks. Raises `TokenFault`."""
        self._ask(Call(lambda: self._admit(keys.find(self._open_token().session, label, public_key)))).result()

    def sign(self, public_key: PublicKey, messages: Sequence[bytes]) -> Future[list[bytes]]:
        """One hop for all `messages`, or one for each session; see `Signer.sign`."""
        name = spki(public_key)

        def put() -> Future[list[bytes]]:
            self._register.usable(name)
            if self._pool is not None:
                return self._pool.sign(name, messages)
            call = Call(lambda: self._sign(name, messages), weight=len(messages))
            self._waiting.put(call)
            return call.future

        return self._enter(put)

    def distrust(self, public_key: PublicKey, why: str) -> None:
        """See `Signer.distrust`. Each time within an hour the key stays out for longer, from one second to a minute."""
        doubt = self._register.distrust(spki(public_key), why)
        if doubt is not None:
            _log.critical("key_distrusted", key=thumbprint(public_key).hex, reason=doubt.why, times=doubt.times)
            if not self._forked():
                self._waiting.put_anyway(Call(self._look_again))

    def health(self) -> Health:
        """What works now, as the last call or the last pulse found it."""
        fault = self._forked() or self._fault()
        if fault is not None:
            return Health(State.DOWN, fault)
        faults = (*self._watch.faults(), *self._register.faults())
        if faults:
            return Health(State.DEGRADED, faults[0])
        return Health(State.UP, f"The token {self._label!r} is open.")

    def close(self) -> None:
        """Answers what waits, ends the sessions and the threads. Calls after it fail. May be repeated."""
        if self._thread is None or self._forked():
            return
        with self._gate:
            self._closing = True
            self._waiting.close()
        self._thread.join(self._limits.stuck)  # a module that hangs must not keep the process from ending

    def _ask(self, call: Call) -> Future[Any]:
        def put() -> Future[Any]:
            self._waiting.put(call)
            return call.future

        return self._enter(put)

    def _enter(self, put: Callable[[], Future[Any]]) -> Future[Any]:
        """`put`, unless it is known already that nothing would come of it; a fault is in the future on return."""
        # The process id first: in a forked child another thread may hold the gate for ever.
        fault = self._forked()
        try:
            if fault is None:
                with self._gate:
                    fault = self._fault()
                    if fault is None:
                        return put()
        except TokenFault as refusal:
            return _failed(refusal)
        return _failed(TokenFault(fault))

    def _forked(self) -> str | None:
        if os.getpid() != self._pid:
            return "This process was forked from the one that opened the token; open it after the fork."
        return None

    def _fault(self) -> str | None:
        """Why a call would fail now, if it would."""
        if self._down:
            return self._down
        if self._closing:
            return "The token was closed."
        return self._watch.hanging()

    # The owner's side: the thread alone.

    def _run(self, opened: Future[None]) -> None:
        self._open_first()
        if self._token is None:
            self._put_away()
            _SEAT.release()
            opened.set_exception(TokenFault(self._down))
            return
        self._watch.start()
        if self._pool is not None:
            self._pool.start()
        self._told = State.UP
        opened.set_result(None)
        while not self._waiting.is_over():
            self._post.serve(self._waiting.take(self._due, _BATCH), self._answer)
            if monotonic() >= self._due and not self._closing:
                self._mend()
        self._end()
        _SEAT.release()

    def _open_first(self) -> None:
        """More than once: SoftHSM fails when another process opens the same token at that moment."""
        for delay in _FIRST:
            sleep(delay)
            self._mend()
            if self._token is not None or self._refused is not None:
                return

    def _end(self) -> None:
        if self._pool is not None:
            self._pool.close(self._limits.stuck)
        self._give_up_token()
        with suppress(TokenFault):  # a thread hangs in the module: it is left as it is
            self._put_away()
        self._watch.stop()

    def _answer(self, call: Call) -> Any:
        try:
            return call.work()
        except (PKCS11Error, ValueError) as error:
            return self._lose(_lost(self._label, error))
        except Exception as error:  # noqa: BLE001 (border: whatever it is, it is the caller's, and the thread lives on)
            return error

    def _sign(self, name: bytes, messages: Sequence[bytes]) -> list[bytes]:
        self._open_token()
        return self._keyring.key(name).sign_all(messages, self._post.step)

    def _admit(self, key: keys.SigningKey) -> PublicKey:
        self._keyring.put(key)
        return key.public_key

    def _open_token(self) -> Token:
        if self._token is None:
            raise TokenFault(self._down)
        return self._token

    def _look_again(self) -> None:
        """A key was distrusted: it is tried when its time has come."""
        self._tell()
        self._due = min(self._due, self._register.next_trial())

    def _mend(self) -> None:
        """Opens what is closed, proves what is there, finds what is missing: one attempt, and when the next is due."""
        self._post.begin()
        try:
            token = self._token = self._token or self._open()
            self._keyring.prove()
            self._keyring.find_missing(token.session)
        except TokenFault as fault:
            self._lose(fault)
        except PKCS11Error as error:
            self._lose(_lost(self._label, error))
        except Exception as error:  # noqa: BLE001 (border: a module may do anything, and the thread must live to retry)
            self._lose(TokenFault(f"The token {self._label!r} cannot be opened ({error!r})."))
        else:
            self._down = ""
            self._floor.open(token)
            self._due = self._next_due()
        finally:
            self._post.rest()
            self._tell()

    def _next_due(self) -> float:
        if self._register.missing:
            return monotonic() + next(self._delays)
        self._delays = _delays()
        return min(monotonic() + self._limits.pulse, self._register.next_trial())

    def _open(self) -> Token:
        self._put_away()
        try:
            pin = self._pin()
        except OSError as error:
            raise TokenFault(f"The PIN cannot be read: {error}.") from error
        if self._refused is not None and self._refused[0] == pin:
            raise TokenFault(self._refused[1])
        try:
            return (open_token if self._pool is None else open_token_for_threads)(self._module, self._label, pin)
        except PinRefused as refusal:
            self._refused = pin, refusal.sentence
            raise

    def _lose(self, fault: TokenFault) -> TokenFault:
        self._down = fault.sentence
        self._give_up_token()
        self._due = monotonic() + next(self._delays)
        self._watch.drain(fault)
        self._tell()
        return fault

    def _lost_by(self, token: Token, error: Exception) -> TokenFault:
        """A thread of the pool met a fault of the module: called by that thread, while it is on the floor."""
        fault = _lost(self._label, error)
        self._down = fault.sentence

        def lose() -> None:
            if self._token is token:
                self._lose(fault)

        self._waiting.put_anyway(Call(lose))
        return fault

    def _give_up_token(self) -> None:
        self._keyring.forget_handles()
        self._floor.shut(0.0)
        if self._token is not None:
            self._lost_token, self._token = self._token, None

    def _put_away(self) -> None:
        """Finalises the module. Raises `TokenFault` while a thread of the pool is in it still."""
        if self._lost_token is not None:
            self._post.begin(2 * self._limits.stuck)
            if not self._floor.shut(self._limits.stuck):
                raise TokenFault(self._watch.sentence)
            self._lost_token.close()
            self._lost_token = None

    def _tell(self) -> None:
        """Logs what changed."""
        health = self.health()
        if self._told is not None and health.state is not self._told:
            (_log.info if health.state is State.UP else _log.error)(f"token_{health.state}", reason=health.sentence)
            self._told = health.state

    def _benches(self) -> list[Bench]:
        own = Bench(self._waiting, [self._post])
        return [own] if self._pool is None else [own, self._pool.bench]


def _delays() -> Iterator[float]:
    return chain(_BACKOFF, repeat(_BACKOFF[-1]))


def _failed(fault: TokenFault) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(fault)
    return future


def _lost(label: str, error: Exception) -> TokenFault:
    return TokenFault(f"The token {label!r} was lost ({str(error) or type(error).__name__}); it is being opened again.")
