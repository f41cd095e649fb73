"""A real nginx on loopback that lets in nobody but holders of this authority's certificates, and says who came."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ca.proofs.issuer import Certified, certified
from tests.world import World, free_port

HOST = "127.0.0.1"
PATIENCE = 10.0
MISSING = "nginx (Debian: nginx-light) is not on this machine; ./deploy/test installs it"


class Nginx:
    """A running server: `/` answers with the serial of the client's certificate, `/slow` a large body, slowly."""

    def __init__(self, folder: Path, tls: Certified) -> None:
        self.folder = folder
        self.root = tls.root
        self.port = free_port()
        self.url = f"https://{HOST}:{self.port}"
        self.log = folder / "access.log"

    def connections(self) -> dict[str, set[str]]:
        """Numbers of the connections of each certificate, by its serial, as the access log has them."""
        found: dict[str, set[str]] = {}
        for line in self.log.read_text().splitlines():
            serial, connection = line.split()
            found.setdefault(serial.lower(), set()).add(connection)
        return found


def installed() -> str | None:
    """Where nginx is on this machine."""
    return shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")


@contextmanager
def running(world: World, folder: Path) -> Iterator[Nginx]:
    """Skips where nginx is not on this machine."""
    program = installed()
    if program is None:
        pytest.skip(MISSING)
    tls = certified(folder, HOST, "localhost")
    server = Nginx(folder, tls)
    file = folder / "nginx.conf"
    file.write_text(_configuration(server, tls, world.root_pem))
    (folder / "slow").write_bytes(b"x" * 200_000)
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen([program, "-p", folder, "-c", file], stdout=log, stderr=log)
    try:
        _wait_until_open(server, process)
        yield server
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _configuration(server: Nginx, tls: Certified, clients: Path) -> str:
    folder = server.folder
    scratch = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return (
        ("user root;\n" if os.geteuid() == 0 else "")  # or its workers may not read the folder
        + f"pid {folder}/pid; error_log {folder}/server.log; daemon off; events {{}}\n"
        + "http { log_format who '$ssl_client_serial $connection';\n"
        f" access_log {server.log} who; server {{ listen {HOST}:{server.port} ssl;\n"
        f" ssl_certificate {tls.chain}; ssl_certificate_key {tls.key};\n"
        f" ssl_client_certificate {clients}; ssl_verify_client on; ssl_verify_depth 2;\n"
        " error_page 495 496 = @refused; location @refused { return 403 $ssl_client_verify; }\n"
        f" location = /slow {{ root {folder}; limit_rate 100k; }}\n"
        " location / { return 200 $ssl_client_serial; } }\n"
        + "".join(f" {name}_temp_path {folder}/{name};\n" for name in scratch)
        + "}\n"
    )


def _wait_until_open(server: Nginx, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with socket.create_connection((HOST, server.port), PATIENCE):
                return
        except ConnectionRefusedError:
            assert process.poll() is None, (server.folder / "server.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
