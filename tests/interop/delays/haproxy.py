"""HAProxy with `verify required` and `crl-file`, which its runtime API changes without a reload."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import ClassVar

from tests.interop.delays.client import tool
from tests.interop.delays.commands import PUBLICATION
from tests.interop.delays.door import HOST, PATIENCE, Door
from tests.interop.delays.nginx import PUSH
from tests.world import free_port


class Haproxy(Door):
    """As it comes, but for `tune.bufsize`: a payload of the runtime API must fit into it."""

    name, mechanism, bound, seconds = "HAProxy", "`crl-file`, `commit ssl crl-file`", PUSH, PUBLICATION
    settings: ClassVar[str] = ""

    def command(self) -> list[str | Path]:
        self.runtime, file = free_port(), self.folder / "haproxy.cfg"
        self.list = self.folder / "bundle.pem"
        self.bundle = self.trust.bundle()
        self.list.write_bytes(self.bundle)
        both = self.folder / "server.pem"
        both.write_bytes(self.certificate.read_bytes() + self.key.read_bytes())
        client = f"ca-file {self.trust.root} verify required crl-file {self.list}"
        file.write_text(
            f"global\n stats socket ipv4@{HOST}:{self.runtime} level admin\n tune.bufsize 1048576\n{self.settings}"
            + "defaults\n mode http\n timeout client 60s\n timeout connect 5s\n timeout server 60s\n"
            + f"frontend door\n bind {HOST}:{self.port} ssl crt {both} {client}\n"
            + " http-request return status 200\n"
        )
        return [tool("HAProxy 2.5 or later (Debian: haproxy, Homebrew: haproxy)", "haproxy"), "-db", "-f", file]

    def accepts(self) -> bool:
        if (bundle := self.trust.bundle()) != self.bundle:
            self.bundle = bundle
            self._say(f"set ssl crl-file {self.list} <<\n{bundle.decode()}\n", "transaction created")
            self._say(f"commit ssl crl-file {self.list}\n", "Success!")
        return super().accepts()

    def _say(self, words: str, expected: str) -> None:
        said = b""
        with socket.create_connection((HOST, self.runtime), PATIENCE) as connection:
            connection.sendall(words.encode())
            while part := connection.recv(4096):
                said += part
        assert expected in said.decode(), said


class HaproxyWithoutResumption(Haproxy):
    mechanism = "the same, `no-tls-tickets`, `tune.ssl.cachesize 0`"
    settings = " tune.ssl.cachesize 0\n ssl-default-bind-options no-tls-tickets\n"
