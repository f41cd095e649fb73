"""A real PostgreSQL on loopback: one cluster a test session, one empty database a test."""

from __future__ import annotations

import copy
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

from ca.store import schema
from tests.world import free_port

_PLACES = ("/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin")
_USER = "postgres"
_NUMBERS = count(1)


def binaries() -> Path | None:
    """The directory that has `initdb` and `pg_ctl`, the newest version's, or None."""
    found = [path for place in _PLACES for path in Path("/").glob(place.lstrip("/")) if (path / "initdb").exists()]
    if found:
        return max(found, key=lambda path: [int(part) for part in path.as_posix().split("/") if part.isdigit()])
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


class Cluster:
    """Started by its first use, in a directory of its own; `stop` takes it away."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._port = free_port()
        # PostgreSQL refuses to run as root; its package makes a user for it.
        self._as: dict[str, Any] = {"user": _USER, "group": _USER, "extra_groups": []} if os.geteuid() == 0 else {}
        self._directory = Path(tempfile.mkdtemp(prefix="remit-postgres-"))
        if self._as:
            shutil.chown(self._directory, _USER, _USER)
        user = _USER if self._as else pwd.getpwuid(os.geteuid()).pw_name
        self._url = f"postgresql+psycopg://{user}@127.0.0.1:{self._port}"
        self._migrated: str | None = None
        self._run("initdb", "--auth=trust", "--encoding=UTF8", "--locale=C", f"--username={user}", "--no-sync")
        self._start()

    def new_database(self, template: str = "template1") -> str:
        """The URL of a new, empty database, or of a copy of that one."""
        name = f"remit_{next(_NUMBERS)}"
        self._ask(f"CREATE DATABASE {name} TEMPLATE {template}")
        return f"{self._url}/{name}"

    def migrated_database(self) -> str:
        """The URL of a new database with the schema of today, which is made once and copied."""
        if self._migrated is None:
            url = self.new_database()
            schema.upgrade(url)
            self._migrated = url.rpartition("/")[2]
        return self.new_database(self._migrated)

    def configure(self, database_url: str, setting: str, value: str) -> None:
        """Sets it for the whole server, as an administrator would; connections made from now on see it."""
        engine = create_engine(database_url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"ALTER SYSTEM SET {setting} = {value}"))
            connection.execute(text("SELECT pg_reload_conf()"))
            while connection.execute(text(f"SHOW {setting}")).scalar_one() != value:
                time.sleep(0.01)
        engine.dispose()

    def forbid(self, database_url: str) -> None:
        """Ends every connection to that database and takes no new ones."""
        name = database_url.rpartition("/")[2]
        self._ask(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        self._ask(f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name}'")

    def allow(self, database_url: str) -> None:
        """Takes connections to that database again."""
        self._ask(f"ALTER DATABASE {database_url.rpartition('/')[2]} ALLOW_CONNECTIONS true")

    def follow(self) -> Cluster:
        """A standby of its own directory and port, which streams asynchronously from this one."""
        other = copy.copy(self)
        other._port = free_port()
        other._directory = Path(tempfile.mkdtemp(prefix="remit-postgres-"))
        if self._as:
            shutil.chown(other._directory, _USER, _USER)
        user = self._url.partition("//")[2].partition("@")[0]
        other._url = f"postgresql+psycopg://{user}@127.0.0.1:{other._port}"
        source = ["--host=127.0.0.1", f"--port={self._port}", f"--username={user}"]
        other._run("pg_basebackup", *source, "--write-recovery-conf", "--checkpoint=fast", "--no-sync")
        (other._directory / "data").chmod(0o700)
        other._start()
        return other

    def has_all_of(self, primary: Cluster) -> bool:
        """Whether what was committed at `primary` can be read here."""
        there = primary._ask("SELECT pg_current_wal_lsn()")
        return bool(self._ask(f"SELECT pg_last_wal_replay_lsn() >= '{there}'::pg_lsn"))

    def cut_off(self) -> None:
        """Follows nobody any more, and knows nothing of what is committed there from now on."""
        self._ask("ALTER SYSTEM SET primary_conninfo = ''")
        self._ask("SELECT pg_reload_conf()")
        while self._ask("SELECT count(*) FROM pg_stat_wal_receiver"):
            time.sleep(0.01)

    def promote(self) -> None:
        """Takes writes from now on, on a timeline of its own."""
        self._run("pg_ctl", "promote", "--wait", "--silent")

    def crash(self) -> None:
        """Ends without a word, and its disk is gone."""
        self.stop()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._port}"

    def _ask(self, query: str) -> Any:
        engine = create_engine(f"{self._url}/postgres", isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                result = connection.execute(text(query))
                return result.scalar() if result.returns_rows else None
        finally:
            engine.dispose()

    def become_standby(self) -> None:
        """Starts again as a hot standby, which takes reads alone."""
        self._run("pg_ctl", "stop", "--mode=fast", "--silent")
        (self._directory / "data" / "standby.signal").touch()
        self._start()

    def stop(self) -> None:
        """At once, whoever is connected."""
        self._run("pg_ctl", "stop", "--mode=immediate", "--silent")
        shutil.rmtree(self._directory)

    def _start(self) -> None:
        options = f"-h 127.0.0.1 -p {self._port} -k {self._directory}"
        self._run("pg_ctl", "start", "--wait", "--silent", f"--log={self._directory / 'log'}", f"--options={options}")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), f"--pgdata={self._directory / 'data'}", *arguments]
        subprocess.run(command, check=True, cwd=self._directory, stdout=subprocess.DEVNULL, timeout=60, **self._as)
