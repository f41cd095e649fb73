"""Waits for a change: PostgreSQL tells who listens; SQLite, and a standby, are looked at every 50 ms.

It says that something may have changed, never what. A notice can be lost, so who waits also looks
now and then without one.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from ca.refusals import Reason, Refused
from ca.store.revocations import CHANNEL
from ca.store.transaction import open_engine

_LOOK = 0.05  # seconds
_COUNT_OF_COMMITS = "PRAGMA data_version"
_REPLAYED = "SELECT pg_last_wal_replay_lsn()::text"

_Wait = Callable[[float], None]


class Watcher:
    """For one thread, with a connection of its own, which is made by the first `wait`."""

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url, writable=False)
        self._connection: Connection | None = None
        self._wait: _Wait | None = None

    def wait(self, seconds: float) -> None:
        """Returns as soon as something may have changed, and after `seconds` in any case.

        The first time, and the first after a loss, it returns at once: what happened before is not known.
        Raises `Refused(UNAVAILABLE)` when the database does not answer.
        """
        try:
            if self._wait is None:
                self._wait = self._begin()
            else:
                self._wait(seconds)
        except (SQLAlchemyError, self._engine.dialect.loaded_dbapi.Error) as error:
            self._forget()
            raise Refused(Reason.UNAVAILABLE, "The database cannot be watched at the moment.") from error

    def close(self) -> None:
        """Closes the connection."""
        self._forget()
        self._engine.dispose()

    def _begin(self) -> _Wait:
        if self._engine.dialect.name == "sqlite":
            self._connection = self._engine.connect()
            return _looking(self._connection, _COUNT_OF_COMMITS)
        # Inside a transaction no notice arrives.
        self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        # A standby takes no LISTEN, and passes no notice on.
        is_standby = _asked(self._connection, "SELECT pg_is_in_recovery()")
        return _looking(self._connection, _REPLAYED) if is_standby else _listening(self._connection)

    def _forget(self) -> None:
        if self._connection is not None:
            # A connection that listens, or is broken, must not go back to the pool.
            self._connection.invalidate()
            self._connection.close()
        self._connection = self._wait = None


def _looking(connection: Connection, query: str) -> _Wait:
    seen = _asked(connection, query)

    def wait(seconds: float) -> None:
        nonlocal seen
        before, end = seen, monotonic() + seconds
        while seen == before and (left := end - monotonic()) > 0:
            sleep(min(_LOOK, left))
            seen = _asked(connection, query)

    return wait


def _asked(connection: Connection, query: str) -> object:
    # A transaction for each: inside a longer one the view, and so SQLite's count, stands still.
    with connection.begin():
        return connection.execute(text(query)).scalar_one()


def _listening(connection: Connection) -> _Wait:
    connection.execute(text(f"LISTEN {CHANNEL}"))
    driver: Any = connection.connection.driver_connection

    def wait(seconds: float) -> None:
        # All that came is taken, so that a hundred commits wake once.
        for _ in driver.notifies(timeout=seconds, stop_after=1):
            pass

    return wait
