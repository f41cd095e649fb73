"""Transactions: any number of readers, and one writer thread with group commit.

Acts that wait together share one transaction and one fsync; each runs behind a savepoint, so one
that is refused takes nothing of the others with it. No timer: the writer takes what is there.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import QueuePool

from ca.refusals import Reason, Refused
from ca.store import notes as noted
from ca.store import stillness
from ca.store.journal import Journal, NoJournal
from ca.store.notes import Note
from ca.store.stillness import Stillness
from ca.store.turn import turn_of

__all__ = ["Connection", "Database", "open_engine"]

_T = TypeVar("_T")
Act = Callable[[Connection], _T]
MAX_BATCH = 256
MAX_WAITING = 4096
_BUSY_MILLISECONDS = 5000
_CROSSED = frozenset({"40001", "40P01"})
"""PostgreSQL's words for transactions that crossed: of a deadlock one is ended, and can be tried again."""
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """An act that somebody waits for, and what must stand still meanwhile."""

    act: Act[Any]
    still: Stillness | None
    future: Future[Any]


class Database:
    """One database: `read` for queries, `write` for acts. Close it when done."""

    def __init__(self, url: str, journal: Journal | None = None) -> None:
        self.url = url
        self._reader = open_engine(url, writable=False)
        self._writer = open_engine(url, writable=True)
        self._turn = turn_of(url)
        self._journal = NoJournal() if journal is None or make_url(url).get_backend_name() == "sqlite" else journal
        self._waiting: queue.Queue[list[_Asked] | None] = queue.Queue(MAX_WAITING)
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="database-writer", daemon=True)
        self._thread.start()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that cannot write, with one consistent view for as long as it is held.

        Raises `Refused(UNAVAILABLE)` when the database does not answer.
        """
        try:
            with self._reader.connect() as connection:
                yield connection
        except DBAPIError as error:
            raise Refused(Reason.UNAVAILABLE, "The database cannot be read at the moment; try again.") from error

    def write(self, act: Act[_T], still: Stillness | None = None) -> Future[_T]:
        """Runs `act` in the writer's next transaction, with `still` from its begin; it resolves after the commit.

        It carries what `act` raised, or `Refused(UNAVAILABLE)` when too many wait or the commit failed:
        then nothing of it is stored.
        """
        return self.write_together([act], still)[0]

    def write_together(self, acts: Sequence[Act[_T]], still: Stillness | None = None) -> list[Future[_T]]:
        """Several acts in one transaction, in their order; one that raises takes nothing of the others with it."""
        asked = [_Asked(act, still, Future()) for act in acts]
        futures = [one.future for one in asked]
        if self._closed:
            return _refuse(futures, "The authority is stopping; nothing was stored.")
        try:
            self._waiting.put_nowait(asked)
        except queue.Full:
            return _refuse(futures, "Too many requests are waiting; try again in a moment.")
        return futures

    def close(self) -> None:
        """Finishes what waits, then closes every connection."""
        self._closed = True
        self._waiting.put(None)
        self._thread.join()
        self._reader.dispose()
        self._writer.dispose()
        self._turn.close()
        self._journal.close()

    def _serve(self) -> None:
        while True:
            batch, more = self._take()
            if batch:
                self._commit(batch)
            if not more:
                return

    def _take(self) -> tuple[list[_Asked], bool]:
        """Waits for one act, then takes all that wait with it."""
        item = self._waiting.get()
        batch: list[_Asked] = []
        while item is not None:
            # From here on nobody can cancel it: a caller who went away must not disturb the others' commit.
            batch += [asked for asked in item if asked.future.set_running_or_notify_cancel()]
            if len(batch) >= MAX_BATCH:
                return batch, True
            try:
                item = self._waiting.get_nowait()
            except queue.Empty:
                return batch, True
        return batch, False

    def _commit(self, batch: list[_Asked], attempts: int = _ATTEMPTS) -> None:
        try:
            done, notes = self._transact(batch)
        except Exception as error:  # noqa: BLE001 (border: the writer must outlive any failed commit)
            if _crossed(error) and attempts > 1:
                # Each locks in one order; together they may not. One by one they cannot cross in the same way again.
                for asked in [asked for asked in batch if not asked.future.done()]:
                    self._commit([asked], attempts - 1)
                return
            _fail(batch, "The database did not accept this; nothing was stored. Try again.", error)
            return
        try:
            self._journal.write(notes)
        except OSError as error:
            _fail(batch, "This host's journal cannot be written, so what was stored is not used yet. Try again.", error)
            return
        for future, result in done:
            future.set_result(result)

    def _transact(self, batch: list[_Asked]) -> tuple[list[tuple[Future[Any], Any]], list[Note]]:
        """What the acts gave, and what they noted; each that raised has its answer."""
        done: list[tuple[Future[Any], Any]] = []
        notes: list[Note] = []
        with self._turn.taken(), self._writer.begin() as connection:
            stillness.take(connection, [asked.still for asked in batch])
            caught_up = self._journal.catch_up(connection)
            apart = connection.begin_nested if len(batch) > 1 or caught_up else partial(_or_nothing, connection)
            for asked in batch:
                noted.take(connection)
                try:
                    with apart():
                        result = asked.act(connection)
                except IntegrityError as error:
                    asked.future.set_exception(_conflict(error))
                except DBAPIError:
                    raise
                except Exception as error:  # noqa: BLE001 (border: it is the caller's, carried by its future)
                    asked.future.set_exception(error)
                else:
                    done.append((asked.future, result))
                    notes += noted.take(connection)
        if caught_up:
            caught_up()
        return done, notes


@contextmanager
def _or_nothing(connection: Connection) -> Iterator[None]:
    """What a savepoint does, for an act that is alone in its transaction and needs none."""
    try:
        yield
    except BaseException:
        connection.rollback()
        raise


def _fail(batch: list[_Asked], sentence: str, error: Exception) -> None:
    """Answers those that have none."""
    refusal = Refused(Reason.UNAVAILABLE, sentence)
    refusal.__cause__ = error
    for asked in batch:
        if not asked.future.done():
            asked.future.set_exception(refusal)


def _crossed(error: Exception) -> bool:
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _CROSSED


def _refuse(futures: list[Future[_T]], sentence: str) -> list[Future[_T]]:
    for future in futures:
        future.set_exception(Refused(Reason.UNAVAILABLE, sentence))
    return futures


def _conflict(error: IntegrityError) -> Refused:
    refusal = Refused(Reason.CONFLICT, "Something of that name exists already, or what it refers to does not.")
    refusal.__cause__ = error
    return refusal


def open_engine(url: str, *, writable: bool) -> Engine:
    """An engine whose every connection is set up: SQLite in WAL with synchronous=FULL; readers cannot write."""
    parsed = make_url(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    pool = {"pool_size": 1, "max_overflow": 0} if writable else {"pool_size": 8, "max_overflow": 8}
    arguments = {"check_same_thread": False} if sqlite else {}
    # Connections of another server, before a failover, are found out before a reader gets one.
    ping = not sqlite and not writable
    engine = create_engine(parsed, poolclass=QueuePool, pool_pre_ping=ping, connect_args=arguments, **pool)
    if sqlite:
        _set_up_sqlite(engine, writable=writable)
    elif not writable:
        return engine.execution_options(postgresql_readonly=True, isolation_level="REPEATABLE READ")
    return engine


def _set_up_sqlite(engine: Engine, *, writable: bool) -> None:
    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: object) -> None:
        # The driver must not open transactions on its own terms; `begin` below does.
        connection.isolation_level = None
        for pragma in (
            f"busy_timeout = {_BUSY_MILLISECONDS}",
            "journal_mode = WAL",
            # The writer reads the indexes of millions of certificates at random: 64 MiB of them stay at hand.
            f"cache_size = {-65536 if writable else -8192}",
            # NORMAL may lose acknowledged commits when the power goes.
            "synchronous = FULL",
            "foreign_keys = ON",
            f"query_only = {'OFF' if writable else 'ON'}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writable else "BEGIN")
