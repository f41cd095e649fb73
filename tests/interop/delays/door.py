"""Servers that an agent knocks at with its certificate: a refusal is a handshake or a request that fails."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
import time
from abc import abstractmethod
from contextlib import closing, suppress
from pathlib import Path
from typing import ClassVar

from tests.interop.delays.client import Aftermath, Client, Unclear, run
from tests.interop.delays.commands import find_openssl
from tests.world import free_port

HOST = "127.0.0.1"
PATIENCE = 10.0
SETTLED = 1.0
"""Seconds after a refusal in which a server that is reloading lets go of what it had open."""
KNOCKS = 5
ACCEPTED = "accepted"
REVOKED = "certificate revoked"


class Door(Client):
    """A server with a certificate of its own, and an agent's TLS towards it with one connection that stays open."""

    pause = 0.05
    path: ClassVar[str] = "/"

    def prepare(self) -> None:
        self.folder, self.port = self.agent.folder, free_port()
        self.certificate, self.key = _credential(self.folder)
        self.log = self.folder / "server.log"
        command = self.command()
        with self.log.open("wb") as log:
            self.server = subprocess.Popen(command, stdout=log, stderr=log)
        self.ends.callback(self._stop)
        self.tls = ssl.create_default_context(cafile=str(self.certificate))
        self.tls.load_cert_chain(self.agent.subject.presented, self.agent.key)
        self._wait_until_open()
        self.standing = self.ends.enter_context(closing(self._connect()))
        if (said := self._ask(self.standing)) != ACCEPTED:
            raise Unclear(f"{said}\n{self.log.read_text()}")
        self.session = self.standing.sock.session

    @abstractmethod
    def command(self) -> list[str | Path]:
        """Writes the configuration; returns what runs the server in the foreground."""

    def accepts(self) -> bool:
        said = self._knock()
        if said != ACCEPTED and REVOKED not in said:
            raise Unclear(f"{said}\n{self.log.read_text()}")
        return said == ACCEPTED

    def aftermath(self) -> Aftermath:
        time.sleep(SETTLED)
        connection = "served" if self._is_served(self.standing) else "closed"
        with closing(self._connect(self.session)) as again:
            session = "resumed" if self._is_served(again) and again.sock.session_reused else "refused"
        return Aftermath(connection, session)

    def _connect(self, session: ssl.SSLSession | None = None) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE)
        # Once closed it stays closed: http.client would dial again, without TLS.
        connection.auto_open = 0
        plain = socket.create_connection((HOST, self.port), PATIENCE)
        connection.sock = self.tls.wrap_socket(plain, server_hostname=HOST, session=session)
        return connection

    def _ask(self, connection: http.client.HTTPConnection) -> str:
        """What the server says of the certificate: by an alert, or in the body of its answer."""
        try:
            connection.request("GET", self.path)
            answer = connection.getresponse()
        except ssl.SSLError as error:
            return str(error)
        body = answer.read().decode()
        return ACCEPTED if answer.status == 200 else body

    def _knock(self) -> str:
        for _ in range(KNOCKS):
            # In TLS 1.3 the refusal comes after the handshake, and a reset may overtake the alert.
            with suppress(ConnectionError), closing(self._connect()) as connection:
                return self._ask(connection)
        raise Unclear(f"The connection was lost {KNOCKS} times.\n{self.log.read_text()}")

    def _is_served(self, connection: http.client.HTTPConnection) -> bool:
        try:
            return self._ask(connection) == ACCEPTED
        except (ConnectionError, http.client.NotConnected):
            return False

    def _stop(self) -> None:
        self.server.terminate()
        self.server.wait(PATIENCE)

    def _wait_until_open(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with socket.create_connection((HOST, self.port), PATIENCE):
                    return
            except ConnectionRefusedError:
                assert self.server.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.02)


def _credential(folder: Path) -> tuple[Path, Path]:
    """A certificate of the server's own, which says nothing of ours, and its key."""
    certificate, key = folder / "server.crt", folder / "server.key"
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1")
    names = ("-subj", "/CN=door", "-addext", f"subjectAltName=IP:{HOST}")
    run(find_openssl(), "req", "-x509", *kind, *names, "-keyout", key, "-out", certificate)
    return certificate, key
