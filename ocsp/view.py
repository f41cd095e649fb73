"""The database as this process sees it: the directory, what became of a serial, and the lists.

It is looked at whenever something may have changed, and several times a second in any case; each
change begins a new generation, in which no earlier answer counts as true before it was proved again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import chain
from typing import Protocol, TypeVar

from ca.batch import Batch, hop
from ca.identifiers import Serial
from ca.pki.keys import PublicKey
from ca.refusals import Refused
from ca.store.status import CertificateStatus
from ocsp.directory import Directory, DirectoryReader
from ocsp.directory import Reader as ReaderOfDirectory

_T = TypeVar("_T")

POLL = 0.25
"""Seconds between two looks where no notice comes: the longest that a revocation stays unseen by this process."""

RETRY = 1.0
"""Seconds between two looks at a database that does not answer."""

DIRECTORY_LIFE = timedelta(seconds=1)
"""A responder's certificate, or its key, may come and go without a change of what is said of certificates."""

_LISTEN = 1.0  # seconds; closing waits so long for the thread that listens

Named = tuple[str, Serial]
"""A certificate by its CA and serial."""

_Statuses = dict[Serial, CertificateStatus]
_Found = dict[Named, CertificateStatus]


class PublishedCrl(Protocol):
    """A CRL as it is served."""

    @property
    def der(self) -> bytes: ...
    @property
    def this_update(self) -> datetime: ...
    @property
    def next_update(self) -> datetime: ...


class Reader(ReaderOfDirectory, Protocol):
    """`ca.store.status.StatusReader`, or in tests a dictionary."""

    def statuses(self, authority_id: str, serials: Sequence[Serial]) -> _Statuses: ...
    def crl(self, authority_id: str, shard: int = 0) -> PublishedCrl | None: ...
    def version(self) -> object: ...
    def close(self) -> None: ...


class Watcher(Protocol):
    """`ca.store.watch.Watcher`, or in tests a bell."""

    def wait(self, seconds: float) -> None: ...
    def close(self) -> None: ...


class View:
    """`refresh` keeps it true; `directory` is None until the database was read for the first time.

    `adopt` makes the private half of a responder's key ready to sign; it raises `TokenFault`.
    """

    def __init__(
        self,
        reader: Reader,
        watcher: Watcher,
        adopt: Callable[[str, PublicKey], None],
        clock: Callable[[], datetime],
    ) -> None:
        self.generation = 0
        self.directory: Directory | None = None
        self.fault: str | None = "The database has not been read yet."
        self._reader = reader
        self._watcher = watcher
        self._directories = DirectoryReader(reader, adopt)
        self._clock = clock
        # A list of 40 MB must not keep a question of a serial waiting, nor a look.
        self._reading, self._fetching, self._listening = (
            ThreadPoolExecutor(1, name) for name in ("status-reader", "list-reader", "status-watcher")
        )
        self._lookups: Batch[Sequence[Named], _Found] = Batch(self._look_up)
        self._seen: object = None
        self._read_at = clock()
        self._notice: asyncio.Future[None] | None = None

    async def change(self) -> None:
        """Returns as soon as something may have changed, and after `POLL` seconds in any case: a notice can be lost."""
        pause = POLL if self.fault is None else RETRY
        if self._notice is None:
            self._notice = _in(self._listening, lambda: self._watcher.wait(_LISTEN))
        try:
            await asyncio.wait({self._notice}, timeout=pause)
        except asyncio.CancelledError:
            self._notice.cancel()
            raise
        if self._notice.done():
            is_deaf = self._notice.exception() is not None
            self._notice = None
            if is_deaf:
                await asyncio.sleep(pause)

    async def refresh(self) -> None:
        """Begins a new generation if the database changed. A failure is kept in `fault`; what was known stays."""
        try:
            seen, directory = await hop(_in(self._reading, self._read))
        except Refused as refused:
            self.fault = f"The database cannot be read. {refused.detail}"
            return
        # After a failure a change may have gone unseen.
        is_new = self.fault is not None or seen != self._seen or directory is not self.directory
        self._seen, self.directory, self.fault = seen, directory, None
        self.generation += is_new

    async def statuses(self, named: Sequence[Named]) -> _Found:
        """The status of each certificate, and of others. Raises `Refused(UNAVAILABLE)`."""
        return await self._lookups.ask(named)

    async def fetch(self, make: Callable[[Callable[[str, int], PublishedCrl | None]], _T]) -> _T:
        """What `make` makes of lists, away from the event loop: it is given how to read one by its CA and number.

        Raises `Refused(UNAVAILABLE)`.
        """
        return await hop(_in(self._fetching, lambda: make(self._reader.crl)))

    def close(self) -> None:
        """Ends the threads, then the reader's and the watcher's connections."""
        for thread in (self._reading, self._fetching, self._listening):
            thread.shutdown(wait=True, cancel_futures=True)
        self._reader.close()
        self._watcher.close()

    def _read(self) -> tuple[object, Directory]:
        # The version comes first: a commit after it shows in the next look, at worst once too often.
        version, now = self._reader.version(), self._clock()
        known = self.directory
        is_young = abs(now - self._read_at) < DIRECTORY_LIFE
        if known is not None and is_young and version == self._seen and self.fault is None:
            return version, known
        read = self._directories.read(now)
        self._read_at = now
        return version, known if known is not None and read == known else read

    async def _look_up(self, questions: list[Sequence[Named]]) -> list[_Found]:
        found = await _in(self._reading, lambda: self._read_statuses(questions))
        return [found] * len(questions)

    def _read_statuses(self, questions: list[Sequence[Named]]) -> _Found:
        """One query for each CA, whatever the number of questions."""
        wanted: dict[str, list[Serial]] = {}
        for authority_id, serial in dict.fromkeys(chain.from_iterable(questions)):
            wanted.setdefault(authority_id, []).append(serial)
        return {
            (authority_id, serial): status
            for authority_id, serials in wanted.items()
            for serial, status in self._reader.statuses(authority_id, serials).items()
        }


def _in(thread: Executor, act: Callable[[], _T]) -> asyncio.Future[_T]:
    return asyncio.get_running_loop().run_in_executor(thread, act)
