"""Threads that sign side by side, each in a session of its own: for a module that has an HSM on the network behind it.

    floor shut      no thread is in the module: the owner may finalise it and initialise it anew
    floor open      threads come and go; whoever comes first after an opening takes a new session

Where the HSM closed a session, its thread takes a new one and signs in that; the others never notice,
and a session that is given up here logs nobody out, since the login is of the owner's. Any other fault,
or a new session that does not work either, is the owner's to mend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from threading import Condition, Thread
from time import monotonic
from typing import Any

import pkcs11
from pkcs11 import PKCS11Error, exceptions

from ca.hsm.calls import Call, Limits, Post, Waiting, joined
from ca.hsm.keyring import Keyring
from ca.hsm.keys import KeyUnfit
from ca.hsm.register import Register
from ca.hsm.signer import TokenFault
from ca.hsm.token import Token
from ca.hsm.watch import Bench

_Work = Callable[["_Signatory", Token], Any]

_SESSION_ENDED = (exceptions.SessionHandleInvalid, exceptions.SessionClosed)


class Floor:
    """Where the token may be used: the owner opens it to the threads, and shuts it once all have left."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._token: Token | None = None
        self._inside = 0

    def open(self, token: Token) -> None:
        """Lets the threads in."""
        with self._changed:
            self._token = token

    def shut(self, seconds: float) -> bool:
        """Lets nobody in any more, and waits for those inside. False if one is inside still: the module hangs."""
        with self._changed:
            self._token = None
            return self._changed.wait_for(lambda: self._inside == 0, seconds)

    @contextmanager
    def inside(self) -> Iterator[Token]:
        """The token, which stays open until the block ends. Raises `TokenFault` while the floor is shut."""
        with self._changed:
            token = self._token
            if token is None:
                raise TokenFault("The token is being opened; nothing was signed.")
            self._inside += 1
        try:
            yield token
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()


class _Signatory:
    """One thread's session and handles."""

    def __init__(self, register: Register, post: Post) -> None:
        self.post = post
        self.keyring = Keyring(register)
        self._token: Token | None = None
        self._session: pkcs11.Session | None = None

    def session(self, token: Token) -> pkcs11.Session:
        """The session with this token, a new one if the token was opened anew. Raises `PKCS11Error`."""
        if self._session is None or self._token is not token:
            self.keyring.forget_handles()
            self._token, self._session = token, None
            self._session = token.session_beside()
        return self._session

    def sign(self, token: Token, name: bytes, messages: Sequence[bytes]) -> list[bytes]:
        """Signatures in this session. Raises `TokenFault`, `PKCS11Error`, `ValueError`."""
        return self.keyring.find(self.session(token), name).sign_all(messages, self.post.step)

    def prove(self, token: Token) -> None:
        """Every key that this session has a handle of signs a test. Raises as `Keyring.prove`."""
        self.session(token)
        self.keyring.prove()

    def end_session(self) -> None:
        """Gives the session up, if it still is one."""
        session, self._session = self._session, None
        self.keyring.forget_handles()
        if session is not None:
            with suppress(PKCS11Error):
                session.close()


class Pool:
    """The threads, from `start` until `close`. `lost` is told of every fault that the owner must mend."""

    def __init__(
        self,
        sessions: int,
        register: Register,
        floor: Floor,
        limits: Limits,
        lost: Callable[[Token, Exception], TokenFault],
    ) -> None:
        self._floor = floor
        self._waiting = Waiting(limits.waiting)
        self._pulse = limits.pulse
        self._lost = lost
        self._signatories = [_Signatory(register, Post(limits.stuck)) for _ in range(sessions)]
        self._threads = [
            Thread(target=self._run, args=(signatory,), name=f"token-session-{number}", daemon=True)
            for number, signatory in enumerate(self._signatories, 1)
        ]

    @property
    def bench(self) -> Bench:
        """For the watch."""
        return Bench(self._waiting, [signatory.post for signatory in self._signatories])

    def start(self) -> None:
        """Starts the threads; the floor is shut."""
        for thread in self._threads:
            thread.start()

    def close(self, seconds: float) -> None:
        """Answers what waits and ends the threads, except those that hang for so long."""
        self._waiting.close()
        until = monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - monotonic()))

    def sign(self, name: bytes, messages: Sequence[bytes]) -> Future[list[bytes]]:
        """Divides the messages among the threads; all or nothing, as `Signer.sign` says. Raises `calls.Full`."""
        size = max(1, -(-len(messages) // len(self._threads)))
        calls = [_call(name, messages[start : start + size]) for start in range(0, len(messages) or 1, size)]
        self._waiting.put(*calls)
        return calls[0].future if len(calls) == 1 else joined([call.future for call in calls])

    def _run(self, signatory: _Signatory) -> None:
        due = monotonic() + self._pulse
        while not self._waiting.is_over():
            calls = self._waiting.take(due, most=1)  # the others are for the other threads
            if monotonic() >= due:
                # What an idle session needs to stay open, and to find out that it did not.
                calls.append(Call(_prove))
                due = monotonic() + self._pulse
            signatory.post.serve(calls, lambda call: self._answer(signatory, call.work))

    def _answer(self, signatory: _Signatory, work: _Work) -> Any:
        try:
            with self._floor.inside() as token:
                return self._attempt(signatory, token, work)
        except Exception as error:  # noqa: BLE001 (border: whatever it is, it is the caller's, and the thread lives on)
            return error

    def _attempt(self, signatory: _Signatory, token: Token, work: _Work) -> Any:
        """Once, and once more in a new session where the old one ended; signing the same twice harms nobody."""
        try:
            try:
                return work(signatory, token)
            except _SESSION_ENDED:
                signatory.end_session()
                return work(signatory, token)
        except (PKCS11Error, ValueError, KeyUnfit) as error:
            signatory.end_session()
            return self._lost(token, error)


def _call(name: bytes, messages: Sequence[bytes]) -> Call:
    return Call(lambda signatory, token: signatory.sign(token, name, messages), weight=len(messages))


def _prove(signatory: _Signatory, token: Token) -> None:
    signatory.prove(token)
