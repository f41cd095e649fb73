"""Who owns the live credential of one agent, and has it renewed in time: one object, one thread.

The order of a try, and what is true if the process dies on each line, is in `_try`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import SystemRandom
from typing import Any

from remit import files, upkeep
from remit.authority import Authority
from remit.credential import Credential
from remit.failed import Failed
from remit.forking import after_fork
from remit.proof import Proofs, Unproven
from remit.requests import Requests
from remit.upkeep import Failure, State

Listener = Callable[[Credential], None]

_CHANCE = SystemRandom()
_log = logging.getLogger("remit")
_LONGEST_NAP = 15.0
"""Seconds. The clock on the wall is looked at so often, because a machine that slept does not count its sleep."""


def clock() -> datetime:
    """The holder's own clock, UTC."""
    return datetime.now(UTC)  # noqa: TID251 (where the library reads it)


class Holder:
    """Holds an agent's newest credential and renews it over mutual TLS, each time with a new key.

    `asked` may have `task`, `scope` and `not_after`. With a `directory`, the credential is kept there in files
    that change together, and one that is live there is gone on with instead of spending a proof. `install` is given
    each credential before it counts: an `OSError` of it, as `ssl.SSLError` is one, makes the try a failed one.
    Every method may be called by any thread.
    """

    def __init__(
        self,
        authority: Authority,
        proofs: Proofs,
        *,
        asked: dict[str, Any] | None = None,
        directory: Path | None = None,
        credential: Credential | None = None,
        install: Listener | None = None,
        clock: Callable[[], datetime] = clock,
        chance: Callable[[], float] = _CHANCE.random,
    ) -> None:
        self.authority = authority
        self._asked = {name: value for name, value in (asked or {}).items() if value is not None}
        self._requests = Requests(authority, proofs, self._asked, clock)
        self._directory = directory
        self._install = install
        self._clock, self._chance = clock, chance
        self._listeners: list[Listener] = []
        self._trying = threading.Lock()
        self._changed = threading.Condition()
        self._credential = credential
        self._failure: Failure | None = None
        self._sentence = ""
        self._next_try = self._planned()
        self._closed = False
        self._thread: threading.Thread | None = None
        if directory is not None:
            files.check(directory)
        after_fork(self)

    def obtain(self, wait: float = 30.0) -> Credential:
        """The first credential, adopted or asked for; `wait` is for how many seconds it is tried again.

        Raises `Failed`; at once, where the authority refuses for good or there is nothing to prove oneself with.
        """
        deadline = time.monotonic() + wait
        if self._credential is None:
            self._adopt()
        while self._credential is None:
            try:
                self.renew()
            except Failed as error:
                pause = (self._next_try - self._clock()).total_seconds()
                if error.final or isinstance(error, Unproven) or time.monotonic() + pause > deadline:
                    raise
                time.sleep(max(0.0, pause))
        return self._credential

    def start(self) -> None:
        """Starts the thread that renews, and enrols where there is no credential yet."""
        if self._credential is None:
            self._adopt()
        self._thread = threading.Thread(target=self._keep, name="remit-holder", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread; a try that is under way is waited for no longer than it takes to notice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def renew(self) -> Credential:
        """Tries now, whatever the time: renewal, or enrolment where there is nothing to renew. Raises `Failed`."""
        with self._trying:
            credential = self._try()
        self._tell(credential)
        return credential

    def on_credential(self, listener: Listener) -> None:
        """Has `listener` called with every new credential, by the thread that got it."""
        with self._changed:
            self._listeners.append(listener)

    def go_on_in_child(self) -> None:
        """After a fork: each process renews for itself."""
        self._trying, self._changed = threading.Lock(), threading.Condition()
        if self._thread is not None and not self._closed:
            self.start()

    @property
    def credential(self) -> Credential:
        """The newest. Raises `Failed` while there is none."""
        if self._credential is None:
            raise Failed(self._sentence or "There is no certificate yet.")
        return self._credential

    @property
    def state(self) -> State:
        """How it stands now."""
        with self._changed:
            life = self._credential.life if self._credential else None
            return upkeep.state(life, self._failure, self._clock())

    @property
    def sentence(self) -> str:
        """What the last try failed by; empty once one succeeded. It holds no secret."""
        return self._sentence

    @property
    def next_try(self) -> datetime:
        """When the authority is asked again."""
        return self._next_try

    def _keep(self) -> None:
        while True:
            with self._changed:
                while not self._closed and (left := (self._next_try - self._clock()).total_seconds()) > 0:
                    self._changed.wait(min(left, _LONGEST_NAP))
                if self._closed:
                    return
            try:
                self.renew()
            except Failed as error:
                _log.warning("no new certificate: %s", error)
            except Exception as error:  # noqa: BLE001 (border: whatever it was, the renewals go on)
                _log.exception("no new certificate")
                self._note(Failed(f"Something went wrong here: {type(error).__name__}; the log says more."))

    def _try(self) -> Credential:
        """One try. 1. the request is drafted; 2. the authority answers; 3. files are in place; 4. it is installed.

        Lost between 2 and 3 by an answer or a disk that failed: the same draft gets the same certificate.
        Dead between 2 and 3: nobody has the key, and the certificate ends by itself. Dead after 3: it is adopted.
        """
        try:
            credential = self._requests.ask(self._credential)
            if self._directory is not None:
                files.write(self._directory, credential.contents)
            if self._install is not None:
                self._install(credential)
        except Failed as error:
            self._note(error)
            raise
        except (OSError, files.Foreign) as error:
            failed = Failed(f"The certificate could not be kept: {error}.")
            self._note(failed)
            raise failed from error
        self._take(credential)
        return credential

    def _take(self, credential: Credential) -> None:
        self._requests.were_answered()
        with self._changed:
            self._credential, self._failure, self._sentence = credential, None, ""
            self._next_try = self._planned()

    def _tell(self, credential: Credential) -> None:
        with self._changed:
            listeners = tuple(self._listeners)
        for listener in listeners:
            try:
                listener(credential)
            except Exception:  # noqa: BLE001 (border: what somebody else's code does with it must not end the renewals)
                _log.exception("a listener failed")

    def _note(self, error: Failed) -> None:
        """A refusal for good is of this request: the next try is a new one."""
        with self._changed:
            count = self._failure.count + 1 if self._failure else 1
            after = None if error.retry_after is None else timedelta(seconds=error.retry_after)
            self._failure, self._sentence = Failure(count, error.final, after), str(error)
            if error.final:
                self._requests.were_refused()
            self._next_try = self._planned()
            self._changed.notify_all()

    def _planned(self) -> datetime:
        life = self._credential.life if self._credential else None
        return upkeep.next_try(life, self._failure, self._clock(), self._chance())

    def _adopt(self) -> None:
        """Goes on with what is in the directory, if it is live, of this authority and for what was asked."""
        found = files.read(self._directory) if self._directory is not None else None
        if found is None:
            return
        try:
            credential = Credential.from_files(found)
            ours = self.authority.trusts(credential.root)
        except Failed as error:
            _log.warning("what is in %s is not gone on with: %s", self._directory, error)
            return
        if not ours or self._clock() >= credential.not_after or not self._is_as_asked(credential):
            return
        self.authority.adopt(credential.root)
        if self._install is not None:
            self._install(credential)
        with self._changed:
            self._credential = credential
            self._next_try = self._planned()

    def _is_as_asked(self, credential: Credential) -> bool:
        said = credential.said
        return all(said[name] == value for name, value in self._asked.items() if name in ("task", "scope"))
