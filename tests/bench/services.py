"""What is measured, as processes: our two services on a home of their own, and the naive application beside them."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

from sqlalchemy import insert

from ca.assembly import clock
from ca.identifiers import AgentId, TenantId
from ca.policy.ceiling import Agent, AgentState
from ca.policy.scope import Scope
from ca.proofs import token
from ca.store import agents
from ca.store.agents import AgentRecord
from ca.store.tables import enrollment_tokens
from ca.store.transaction import open_engine
from tests.bench import naive
from tests.bench.generator import Target
from tests.bench.plan import WORKERS
from tests.bench.process import wait_until_it_listens
from tests.world import World, free_port

AGENTS = 500
_TENANT = TenantId("default")
_TOKEN_LIFETIME = timedelta(days=1)
_STOP_SECONDS = 30


class Ours(World):
    """The CA and the status service, with the keys in SoftHSM or in memory."""

    def __init__(self, directory: Path, key: str, database_url: str | None = None, workers: int = WORKERS) -> None:
        directory.mkdir(parents=True)
        database = {"REMIT_DATABASE_URL": database_url} if database_url else {}
        super().__init__(directory, REMIT_WORKERS=str(workers), **database)
        self.database_url = database_url or f"sqlite:///{self.home / 'remit.db'}"
        self._runner = ["-m", "tests.bench.memory"] if key == "memory" else ["-m"]
        self.target = Target("ours", f"{self.api_url}/v1/certificates", self.root_pem, directory / "tokens")

    def init(self) -> Ours:
        """Holds the ceremony and registers the agents."""
        command = [sys.executable, *self._runner, "ca.ceremony"]
        subprocess.run(command, env=self.environment, cwd=self.directory, check=True, stdout=subprocess.DEVNULL)
        engine = open_engine(self.database_url, writable=True)
        with engine.begin() as connection:
            for name in map(_agent, range(AGENTS)):
                agents.add(connection, AgentRecord(_registered(name), "", clock()))
        engine.dispose()
        return self

    def start(self) -> Ours:
        """Starts both services and waits until they are ready."""
        with (self.directory / "service.log").open("ab") as log:
            self._services = [
                subprocess.Popen(
                    [sys.executable, *self._runner, module],
                    env=self.environment,
                    cwd=self.directory,
                    stdout=log,
                    stderr=log,
                )
                for module in ("ca.server", "ocsp.server")
            ]
        self._wait_until_ready()
        return self

    def stock(self, count: int) -> None:
        """Puts this many unspent tokens into the database, in one transaction, and adds them to the target's."""
        fresh, now = _mint(count), clock()
        rows = [
            {
                "sha256": token.hash_of(text).digest,
                "tenant": _TENANT,
                "agent": _agent(self.target.stocked + i),
                "created_by": "bench",
                "created_at": now,
                "expires_at": now + _TOKEN_LIFETIME,
            }
            for i, text in enumerate(fresh)
        ]
        engine = open_engine(self.database_url, writable=True)
        with engine.begin() as connection:
            connection.execute(insert(enrollment_tokens), rows)
        engine.dispose()
        self.target.add(fresh)

    def processes(self) -> dict[str, int]:
        """Names and ids, the workers' beside their parents'."""
        return {
            process: pid
            for name, service in zip(("CA", "status service"), self._services, strict=True)
            for process, pid in _family(name, service.pid).items()
        }


class Naive:
    """The naive application on the home of an `Ours`: the same key, the same TLS certificate, its own database."""

    def __init__(self, beside: Ours, form: str, database_url: str | None = None) -> None:
        self._url = database_url or f"sqlite:///{beside.directory / form}.db"
        port = free_port()
        self._environment = {
            **beside.environment,
            "NAIVE_HOME": str(beside.home),
            "NAIVE_STATUS_URL": beside.status_url,
            "NAIVE_DATABASE_URL": self._url,
            "NAIVE_PORT": str(port),
            "NAIVE_FORM": form,
        }
        self._log = beside.directory / f"{form}.log"
        url = f"https://127.0.0.1:{port}/v1/certificates"
        self.target = Target(form, url, beside.root_pem, beside.directory / f"{form}-tokens")
        self._service: subprocess.Popen[bytes] | None = None

    def start(self) -> Naive:
        """Starts it and waits until its port answers."""
        with self._log.open("ab") as log:
            self._service = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.naive"], env=self._environment, stdout=log, stderr=log
            )
        wait_until_it_listens(self.target.url, self._service, self._log)
        return self

    def stop(self) -> None:
        """Ends it."""
        if self._service is not None:
            self._service.send_signal(signal.SIGTERM)
            self._service.wait(_STOP_SECONDS)
            self._service = None

    def stock(self, count: int) -> None:
        """As `Ours.stock`."""
        fresh, end = _mint(count), int(time.time()) + 86400
        rows = [
            {
                "sha256": token.hash_of(text).digest,
                "agent": _agent(self.target.stocked + i),
                "expires_at": end,
                "spent": False,
            }
            for i, text in enumerate(fresh)
        ]
        engine = naive.open_database(self._url)
        with engine.begin() as connection:
            connection.execute(insert(naive.Token), rows)
        engine.dispose()
        self.target.add(fresh)

    def processes(self) -> dict[str, int]:
        """Names and ids."""
        return {} if self._service is None else _family("application", self._service.pid)


def _family(name: str, parent: int) -> dict[str, int]:
    children = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True, check=False).stdout.split()
    return {name: parent} | {f"{name}, worker {number}": int(pid) for number, pid in enumerate(children, 1)}


def _mint(count: int) -> list[str]:
    return [token.mint(secrets.token_bytes(token.RANDOM_OCTETS)) for _ in range(count)]


def _agent(number: int) -> AgentId:
    return AgentId(f"agent-{number % AGENTS:04}")


def _registered(name: AgentId) -> Agent:
    return Agent(_TENANT, name, AgentState.ACTIVE, Scope(), None, 0)
