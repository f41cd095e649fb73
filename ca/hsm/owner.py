"""The one thread of a process that calls the PKCS#11 module.

    opening --> up <--> degraded (a key is missing: the others sign, it is looked for)
                 |          |
                 +--> down <+    every call fails at once; opening is tried after 0, 0.1, ... 2, 2, ... seconds

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
from dataclasses import dataclass
from itertools import chain, repeat
from math import inf
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from time import monotonic
from typing import Any, TypeVar

from pkcs11 import PKCS11Error

from ca.hsm import keys
from ca.hsm.keyring import Keyring
from ca.hsm.signer import Health, KeyKind, State, TokenFault
from ca.hsm.token import PinRefused, Token, open_token
from ca.pki.keys import PublicKey, spki

T = TypeVar("T")

_BACKOFF = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0)  # seconds; the last one repeats
_BATCH = 128  # calls answered together: about 10 ms of SoftHSM
_PULSE = 10.0  # seconds between two proofs that the token is there and its handles name the right keys
_STUCK = 10.0  # seconds in one call after which the module is taken for hanging

# python-pkcs11 initialises a module for calls of one thread; a second owner in the process would crash it.
_SEAT = Lock()


@dataclass(frozen=True, slots=True)
class _Call:
    future: Future[Any]
    work: Callable[[], Any]


class Owner:
    """A `Signer` over a PKCS#11 token. Make it and start it after the last fork; close it at the end."""

    def __init__(self, module: Path, token_label: str, pin: Callable[[], str]) -> None:
        self._module = module
        self._label = token_label
        self._pin = pin
        self._refused: tuple[str, str] | None = None  # the PIN, and what the token said
        self._pid = os.getpid()
        self._gate = Lock()
        self._calls: SimpleQueue[_Call] = SimpleQueue()
        self._keyring = Keyring()
        self._token: Token | None = None
        self._down = "The token is not open; the owner was not started."
        self._thread: Thread | None = None
        self._closing = False
        self._delays = _delays()
        self._due = 0.0
        self._busy_since = inf

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
        opened.result()

    def generate(self, label: str, kind: KeyKind = KeyKind.P256) -> PublicKey:
        """Makes a key in the token and adopts it. Blocks. Raises `TokenFault`."""
        return self._submit(lambda: self._admit(keys.generate(self._open_token(), label, kind))).result()

    def adopt(self, label: str, public_key: PublicKey) -> None:
        """Finds the key by its public half, checks its attributes and a test signature. Blocks. Raises `TokenFault`."""
        self._submit(lambda: self._admit(keys.find(self._open_token().session, label, public_key))).result()

    def sign(self, public_key: PublicKey, messages: Sequence[bytes]) -> Future[list[bytes]]:
        """One hop for all `messages`; see `Signer.sign`."""
        name = spki(public_key)
        return self._submit(lambda: self._sign(name, messages))

    def health(self) -> Health:
        """What works now, as the last call or the last pulse found it."""
        fault = self._forked() or self._fault()
        if fault is not None:
            return Health(State.DOWN, fault)
        if missing := self._keyring.missing:
            return Health(State.DEGRADED, missing[0])
        return Health(State.UP, f"The token {self._label!r} is open.")

    def close(self) -> None:
        """Answers what waits, ends the sessions and the thread. Calls after it fail. May be repeated."""
        if self._thread is None or self._forked():
            return
        with self._gate:
            if not self._closing:
                self._closing = True
                self._calls.put(_Call(Future(), lambda: None))  # wakes the thread; nothing comes after it
        self._thread.join(_STUCK)  # a module that hangs must not keep the process from ending

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        # The process id first: in a forked child another thread may hold the gate for ever.
        fault = self._forked()
        if fault is None:
            with self._gate:
                fault = self._fault()
                if fault is None:
                    self._calls.put(_Call(future, work))
                    return future
        future.set_exception(TokenFault(fault))
        return future

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
        if monotonic() - self._busy_since > _STUCK:
            return f"The PKCS#11 module has not answered for {_STUCK:.0f} seconds; look at the token."
        return None

    # The owner's side: the thread alone.

    def _run(self, opened: Future[None]) -> None:
        self._mend()
        if self._token is None:
            _SEAT.release()
            opened.set_exception(TokenFault(self._down))
            return
        opened.set_result(None)
        while not (self._closing and self._calls.empty()):
            self._serve(self._take())
            if monotonic() >= self._due:
                self._mend()
        self._drop()
        _SEAT.release()

    def _take(self) -> list[_Call]:
        """Everything that waits, up to `_BATCH`; waits for the first until `_mend` is due."""
        calls: list[_Call] = []
        try:
            calls.append(self._calls.get(timeout=max(0.0, self._due - monotonic())))
            while len(calls) < _BATCH:
                calls.append(self._calls.get_nowait())
        except Empty:
            pass
        return calls

    def _serve(self, calls: list[_Call]) -> None:
        """Does all the work, then wakes the callers: one woken earlier would take the interpreter from the work."""
        running = [call for call in calls if call.future.set_running_or_notify_cancel()]
        answers = [self._answer(call) for call in running]
        for call, answer in zip(running, answers, strict=True):
            if isinstance(answer, Exception):
                call.future.set_exception(answer)
            else:
                call.future.set_result(answer)

    def _answer(self, call: _Call) -> Any:
        self._busy_since = monotonic()
        try:
            return call.work()
        except (PKCS11Error, ValueError) as error:
            return self._lose(_lost(self._label, error))
        except Exception as error:  # noqa: BLE001 (border: whatever it is, it is the caller's, and the thread lives on)
            return error
        finally:
            self._busy_since = inf

    def _sign(self, name: bytes, messages: Sequence[bytes]) -> list[bytes]:
        self._open_token()
        return list(map(self._keyring.key(name).sign, messages))

    def _admit(self, key: keys.SigningKey) -> PublicKey:
        self._keyring.put(key)
        return key.public_key

    def _open_token(self) -> Token:
        if self._token is None:
            raise TokenFault(self._down)
        return self._token

    def _mend(self) -> None:
        """Opens what is closed, proves what is there, finds what is missing: one attempt, and when the next is due."""
        self._busy_since = monotonic()
        try:
            if self._token is None:
                self._token = self._open()
            self._keyring.prove()
            self._keyring.find_missing(self._token.session)
        except TokenFault as fault:
            self._lose(fault)
        except PKCS11Error as error:
            self._lose(_lost(self._label, error))
        except Exception as error:  # noqa: BLE001 (border: a module may do anything, and the thread must live to retry)
            self._lose(TokenFault(f"The token {self._label!r} cannot be opened ({error!r})."))
        else:
            self._down = ""
            if self._keyring.missing:
                self._due = monotonic() + next(self._delays)
            else:
                self._due, self._delays = monotonic() + _PULSE, _delays()
        finally:
            self._busy_since = inf

    def _open(self) -> Token:
        try:
            pin = self._pin()
        except OSError as error:
            raise TokenFault(f"The PIN cannot be read: {error}.") from error
        if self._refused is not None and self._refused[0] == pin:
            raise TokenFault(self._refused[1])
        try:
            return open_token(self._module, self._label, pin)
        except PinRefused as refusal:
            self._refused = pin, refusal.sentence
            raise

    def _lose(self, fault: TokenFault) -> TokenFault:
        self._down = fault.sentence
        self._drop()
        self._due = monotonic() + next(self._delays)
        return fault

    def _drop(self) -> None:
        self._keyring.forget_handles()
        if self._token is not None:
            self._token.close()
            self._token = None


def _delays() -> Iterator[float]:
    return chain(_BACKOFF, repeat(_BACKOFF[-1]))


def _lost(label: str, error: Exception) -> TokenFault:
    return TokenFault(f"The token {label!r} was lost ({str(error) or type(error).__name__}); it is being opened again.")
