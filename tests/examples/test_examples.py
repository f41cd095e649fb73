"""Each example as its page says: the page's own lines, run by a shell against a running authority."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ca.proofs.issuer import certified
from tests.interop import openid
from tests.remit.agent.test_mcp import serving
from tests.world import CHECKOUT, World, free_port

PAGE = (CHECKOUT / "examples" / "README.md").read_text()
BLOCKS = re.findall(r"^```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SETTING, SERVER, HTTPX, MCP, PLANNER = BLOCKS

PROGRAMS = {
    "remit": f"exec {sys.executable} -c 'from remit.cli import main; main()' \"$@\"",
    "python": f'exec {sys.executable} "$@"',
}

Run = Callable[[str], str]


@pytest.fixture(scope="module")
def shell(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Runs lines of the page in one directory, as the admin; the ports are free ones."""
    folder, port = tmp_path_factory.mktemp("examples"), free_port()
    (folder / "bin").mkdir()
    for name, line in PROGRAMS.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / "bin" / name).chmod(0o755)
    (folder / "examples").symlink_to(CHECKOUT / "examples")
    environment = world.environment | {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "REMIT_CA": world.api_url,
        "REMIT_ROOT_FINGERPRINT": world.root_fingerprint,
    }

    def run(lines: str) -> str:
        # A server takes a moment to listen; a person's typing gives it that.
        script = lines.replace("9443", str(port)).replace(" &\n", " & \nsleep 2\n")
        done = subprocess.run(
            ["bash", "-ec", script],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(SERVER)
    yield run


def test_the_page_sets_what_the_library_reads() -> None:
    assert set(re.findall(r"REMIT_\w+", SETTING)) == {"REMIT_CA", "REMIT_ROOT_FINGERPRINT"}


def test_an_api_over_mutual_tls(shell: Run) -> None:
    said = shell(HTTPX)
    assert "I am spiffe://agents.example/agent/default/caller" in said
    assert "for the task fetch (files:read)" in said
    assert said.count("answered 200") == 2
    assert " became " in said


def test_a_tool_of_an_mcp_server(shell: Run) -> None:
    said = shell(MCP)
    assert "agent/default/assistant may call: add" in said
    assert "20 + 22 is 42" in said


def test_the_same_with_tokens_of_an_authorization_server(world: World, tmp_path: Path) -> None:
    tls, name, port = certified(tmp_path, "localhost", "127.0.0.1"), world.new_agent(), free_port()
    client = {
        "client_id": f"{world.api_url}/clients/default/{name}",
        "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_san_uri": f"spiffe://agents.example/agent/default/{name}",
    }
    with (
        openid.running(tls, clients=[client], trust=world.root_pem) as provider,
        serving(provider.issuer, port, tls) as verifier,
    ):
        told = {
            "REMIT_CA": world.api_url,
            "REMIT_ROOT_FINGERPRINT": world.root_fingerprint,
            "REMIT_ENROLLMENT_TOKEN": world.token(name),
        }
        program = (sys.executable, CHECKOUT / "examples" / "mcp_agent.py")
        done = subprocess.run(
            [*program, f"https://127.0.0.1:{port}/mcp", tls.root, provider.issuer],
            env=world.environment | told,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert "20 + 22 is 42" in done.stdout
    assert verifier.taken


def test_two_workers_that_may_do_less(shell: Run, world: World) -> None:
    said = shell(PLANNER)
    rows = {
        line.split()[0].rpartition("/")[2]: line.split()[1:] for line in said.splitlines() if line.startswith("spiffe")
    }
    assert rows["planner"][:2] == ["files:read", "tickets:write"]
    assert rows["planner.reader"][0] == "files:read"
    assert rows["planner.writer"][0] == "tickets:write"
    assert "The reader cannot pass on what it does not have" in said
    assert "planner.reader did what files:read allows" in said
    assert "The task is over" in said
    assert {one["state"] for one in world.json("cert", "list", "--task", "report")} == {"revoked"}


def test_the_examples_are_short_enough_to_be_read() -> None:
    for file in (CHECKOUT / "examples").glob("*.py"):
        assert len(file.read_text().splitlines()) <= 80, file
        assert str(Path("examples") / file.name) in file.read_text(), "it says how it is run"
