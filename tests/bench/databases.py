"""Where the rows go: files of SQLite, or databases of a PostgreSQL cluster that is started when one is asked for."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from tests.world import free_port

_USER = "remit"
_UNPRIVILEGED = "nobody"
_START_SECONDS = 30
_STOP_SECONDS = 120

# Beyond the defaults, which are for a machine of last century; what makes a commit durable is left as it is.
_SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "4GB", "max_connections": "200"}


class NoPostgres(Exception):  # noqa: N818 (said to a person as it is)
    """PostgreSQL cannot be run: one sentence with the mend."""


class Databases:
    """Makes an empty database of a kind. A context: what it started ends with it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._cluster: Cluster | None = None

    def new(self, kind: str, name: str) -> str | None:
        """The URL of a new database; None for SQLite, which is a file in the home of who asks. Raises `NoPostgres`."""
        if kind == "sqlite":
            return None
        if self._cluster is None:
            # The scratch directory is its owner's alone; the cluster's user must come through to his own.
            self._cluster = Cluster(Path(tempfile.mkdtemp(dir=self._directory.parent)))
        return self._cluster.new(name.replace("-", "_"))

    def __enter__(self) -> Databases:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._cluster is not None:
            self._cluster.close()


class Cluster:
    """A throw-away PostgreSQL on loopback, as an unprivileged user, which it insists on."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = free_port()
        self._user = _UNPRIVILEGED if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(directory, self._user)
        data = str(directory / "data")
        # Scratch data of one run, reached from this machine alone: no password keeps anything safe.
        making = [_program("initdb"), "-D", data, "-U", _USER, "--auth=trust", "--encoding=UTF8", "--locale=C"]
        made = subprocess.run(making, user=self._user, cwd=directory, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise NoPostgres(f"PostgreSQL makes no cluster in {directory}: {made.stderr.strip()}")
        settings = {**_SETTINGS, "listen_addresses": "127.0.0.1", "port": self._port, "unix_socket_directories": ""}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (directory / "log").open("wb") as log:
            self._server = subprocess.Popen(
                [_program("postgres"), "-D", data, *options], user=self._user, cwd=directory, stdout=log, stderr=log
            )
        self._wait()

    def new(self, name: str) -> str:
        """Makes the database anew and returns its URL."""
        self._tell(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}")
        return self._url(name)

    def close(self) -> None:
        """Stops the server and takes its data away."""
        self._server.send_signal(signal.SIGINT)
        self._server.wait(_STOP_SECONDS)
        shutil.rmtree(self._directory)

    def _url(self, name: str) -> str:
        return f"postgresql+psycopg://{_USER}@127.0.0.1:{self._port}/{name}"

    def _tell(self, *statements: str) -> None:
        engine = create_engine(self._url("postgres"), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                for statement in statements:
                    connection.exec_driver_sql(statement)
        finally:
            engine.dispose()

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                return self._tell("SELECT 1")
            except OperationalError as error:
                if self._server.poll() is not None or time.monotonic() > deadline:
                    raise NoPostgres(f"PostgreSQL does not start:\n{(self._directory / 'log').read_text()}") from error
                time.sleep(0.1)


def _program(name: str) -> str:
    """On the path, or where Debian keeps what it does not put there: the newest version."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: int(place.parent.name))
    places = [os.environ.get("PATH", ""), *map(str, reversed(versions))]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        raise NoPostgres(
            f"{name} is missing; install PostgreSQL (Debian: postgresql), "
            "or leave it out (issuance: --only sqlite, revocation: --quick)."
        )
    return found
