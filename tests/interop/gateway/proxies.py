"""The proxies, each by its real program with the very file of deploy/integrations: ports and paths alone are set."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ca.proofs.issuer import Certified, certified
from tests.world import CHECKOUT, free_port

HOST, NAME = "127.0.0.1", "localhost"
PATIENCE = 20.0
INTEGRATIONS = CHECKOUT / "deploy" / "integrations"
SYSTEM = "/usr/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin"


@dataclass(frozen=True)
class Site:
    """What a proxy stands between, and where it may write."""

    folder: Path
    tls: Certified
    agents: Path
    gate: int
    backend: int
    port: int

    @property
    def places(self) -> dict[str, str]:
        """What the files name, and what it is here."""
        both = self.folder / "server.pem"
        both.write_bytes(self.tls.chain.read_bytes() + self.tls.key.read_bytes())
        return {
            "/etc/remit/gateway/server.crt": str(self.tls.chain),
            "/etc/remit/gateway/server.key": str(self.tls.key),
            "/etc/remit/gateway/server.pem": str(both),
            "/etc/remit/gateway/agents-ca.pem": str(self.agents),
            "/etc/remit/gateway/remit.lua": str(INTEGRATIONS / "haproxy" / "remit.lua"),
            "127.0.0.1:9444": f"{HOST}:{self.gate}",
            "127.0.0.1:9000": f"{HOST}:{self.backend}",
        }

    def file(self, name: str, places: Mapping[str, str]) -> Path:
        """That file of the integrations, with these written in place of what it names."""
        text = (INTEGRATIONS / name).read_text()
        for there, here in {**self.places, **places}.items():
            assert there in text or there in self.places, f"{name} does not name {there}"
            text = text.replace(there, here)
        made = self.folder / Path(name).name
        made.write_text(text)
        return made


Command = list[str | Path]


@dataclass(frozen=True)
class Kind:
    """A proxy: which header it writes in which form, and how it is run."""

    header: str
    form: str
    command: Callable[[Site], Command]


def cache() -> Path:
    """Where `deploy/test` installs what the lock names: outside the checkout."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "remit" / "proxies"


def tool(name: str, *places: Path) -> str:
    path = next((str(one) for one in places if one.is_file()), None) or shutil.which(name, path=SYSTEM)
    if path is None:
        pytest.skip(f"{name} is not on this machine; ./deploy/test installs it")
    return path


def nginx(site: Site) -> Command:
    program = tool("nginx")
    conf = site.file("nginx/remit.conf", {"listen 443 ssl": f"listen {HOST}:{site.port} ssl"})
    scratch = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    main = site.folder / "nginx.conf"
    main.write_text(
        f"pid {site.folder}/pid; error_log stderr info; daemon off; events {{}}\n"
        "http { access_log off;\n"
        + "".join(f" {one}_temp_path {site.folder}/{one};\n" for one in scratch)
        + f" include {conf};\n}}\n"
    )
    return [program, "-p", site.folder, "-c", main]


def envoy(site: Site) -> Command:
    program = tool("envoy", cache() / "envoy" / "_bin" / "envoy")
    places = {
        "address: 0.0.0.0, port_value: 443": f"address: {HOST}, port_value: {site.port}",
        "address: 127.0.0.1, port_value: 9444": f"address: {HOST}, port_value: {site.gate}",
        "address: 127.0.0.1, port_value: 9000": f"address: {HOST}, port_value: {site.backend}",
    }
    file = site.file("envoy/envoy.yaml", places)
    return [program, "-c", file, "--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"]


def caddy(site: Site) -> Command:
    program = tool("caddy", cache() / "bin" / "caddy")
    address = "https://mcp.example.com:443"
    # Its redirects from plain HTTP need port 80.
    here = f"admin off\n\tauto_https disable_redirects\n\tdefault_bind {HOST}"
    places = {address: f"https://{NAME}:{site.port}", "admin off": here}
    return [program, "run", "--adapter", "caddyfile", "--config", site.file("caddy/Caddyfile", places)]


def haproxy(site: Site) -> Command:
    program = tool("haproxy")
    return [program, "-db", "-f", site.file("haproxy/haproxy.cfg", {"bind :443": f"bind {HOST}:{site.port}"})]


KINDS = {
    "nginx": Kind("X-SSL-Client-Cert", "escaped-pem", nginx),
    "envoy": Kind("X-Forwarded-Client-Cert", "xfcc", envoy),
    "caddy": Kind("Client-Cert", "rfc9440", caddy),
    "haproxy": Kind("Client-Cert", "rfc9440", haproxy),
}


def site(folder: Path, agents: Path, gate: int, backend: int) -> Site:
    """A place for a proxy on a port of its own."""
    return Site(folder, certified(folder, NAME), agents, gate, backend, free_port())


@contextmanager
def running(site: Site, command: Command) -> Iterator[None]:
    """The proxy, from when it is open until the end."""
    file = site.folder / "proxy.log"
    with file.open("wb") as log:
        home = {**os.environ, "HOME": str(site.folder), "XDG_DATA_HOME": str(site.folder)}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=home)
    try:
        _wait_until_open(site.port, process, file)
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _wait_until_open(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with socket.create_connection((HOST, port), PATIENCE):
                return
        except ConnectionRefusedError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
