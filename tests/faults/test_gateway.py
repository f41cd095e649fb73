"""The listener for gateways of the real CA: a socket in the file system, and what becomes of it when the CA dies."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from ca.identifiers import Thumbprint
from tests.holder import enrolled
from tests.world import World


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway"


@pytest.fixture
def gated(tmp_path: Path, path: Path) -> Iterator[World]:
    settings = {
        "REMIT_GATEWAY__LISTEN": f"unix:{path}",
        "REMIT_GATEWAY__CERTIFICATE_HEADER": "X-Client",
        "REMIT_GATEWAY__CERTIFICATE_FORM": "xfcc",
    }
    made = World(tmp_path, **settings).init().start()
    yield made
    made.stop()


def ask(path: Path, header: str) -> httpx2.Response:
    with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(path)), base_url="http://gateway") as client:
        return client.post("/v1/as/authz/mcp", headers={"X-Client": header}, content=b"x" * 1_000_000)


def test_a_path_is_served_again_after_a_crash_and_by_one_alone(gated: World, path: Path) -> None:
    agent = enrolled(gated)
    header = f"Hash={Thumbprint.parse(agent.answer['x5t#S256']).hex}"
    assert ask(path, header).status_code == 200
    assert path.stat().st_mode & 0o777 == 0o660
    with gated.client() as stranger:
        assert stranger.get("/v1/as/authz", headers={"X-Client": header}).status_code == 404, "not at the public door"

    gated.stop(signal.SIGKILL)
    assert path.exists()
    gated.start()
    assert ask(path, header).headers["x-agent-task"] == agent.answer["task"]

    other = World(
        gated.directory / "other", **{name: value for name, value in gated.environment.items() if "GATEWAY" in name}
    )
    other.directory.mkdir()
    done = other.init().run_server()
    assert done.returncode == 1
    assert "another process serves it" in done.stderr
    assert ask(path, header).status_code == 200, "and goes on serving it"


def test_what_is_not_ours_stops_the_start_and_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    settings = {"REMIT_GATEWAY__CERTIFICATE_HEADER": "Client-Cert", "REMIT_GATEWAY__CERTIFICATE_FORM": "rfc9440"}
    world = World(tmp_path, **settings).init()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for at in (f"unix:{path}", f"127.0.0.1:{taken.getsockname()[1]}"):
            world.environment["REMIT_GATEWAY__LISTEN"] = at
            done = world.run_server()
            assert (done.returncode, f"It cannot listen on {at}" in done.stderr) == (1, True), done.stderr
    assert path.read_text() == "mine"
