"""Each example as its page says: the page's own lines, run by a shell against a running authority."""

from __future__ import annotations

import contextlib
import os
import re
import signal
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
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SETTING, SERVER, HTTPX, MCP, PLANNER = (block for language, block in BLOCKS if not language)
HTTPX_SAYS, MCP_SAYS, PLANNER_SAYS = (block for language, block in BLOCKS if language == "text")
PORT = "9443"
DIFFERS = (
    (r"\b[0-9a-f]{38}\b|\b[0-9a-f]{8}…", "SERIAL"),
    (r"\d\d:\d\d:\d\dZ", "TIME"),
    (r"\[SSL: \w*_CERTIFICATE_REVOKED\].*", "REVOKED"),  # each OpenSSL has words of its own for the alert
)

PROGRAMS = {
    "remit": f"exec {sys.executable} -c 'from remit.cli import main; main()' \"$@\"",
    "python": f'exec {sys.executable} "$@"',
}

# A server takes a moment to listen; a person's typing gives it that.
LISTENING = " &\nuntil (echo >/dev/tcp/127.0.0.1/{port}) 2>/dev/null; do sleep 0.1; done\n"

Run = Callable[[str], str]


@pytest.fixture(scope="module")
def shell(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Runs lines of the page in one directory, as the admin; the ports are free ones."""
    folder, port = tmp_path_factory.mktemp("examples"), str(free_port())
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
        script = lines.replace(PORT, port).replace(" &\n", LISTENING.format(port=port))
        with (folder / "said").open("w+") as said, (folder / "errors").open("w+") as errors:
            shell = subprocess.Popen(
                ["bash", "-ec", script], env=environment, cwd=folder, stdout=said, stderr=errors, start_new_session=True
            )
            try:
                assert shell.wait(60) == 0, (folder / "said").read_text() + (folder / "errors").read_text()
            finally:
                _end(shell)
        return (folder / "said").read_text().replace(port, PORT)

    run(SERVER)
    yield run


def _end(shell: subprocess.Popen[bytes]) -> None:
    """Also the server that a line before the failing one had started: its session is the shell's."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(shell.pid, signal.SIGKILL)
    shell.wait()


def alike(said: str) -> str:
    """What is the same at each run."""
    for pattern, name in DIFFERS:
        said = re.sub(pattern, name, said)
    return said


def test_the_page_sets_what_the_library_reads() -> None:
    assert set(re.findall(r"REMIT_\w+", SETTING)) == {"REMIT_CA", "REMIT_ROOT_FINGERPRINT"}


def test_an_api_over_mutual_tls(shell: Run, world: World) -> None:
    said = shell(HTTPX)
    assert alike(HTTPX_SAYS) in alike(said)
    recorded = world.json("cert", "list", "--task", "fetch")
    assert re.findall(r"\b([0-9a-f]{8})…", said) == [one["serial"][:8] for one in reversed(recorded)]


def test_a_tool_of_an_mcp_server(shell: Run, world: World) -> None:
    assert MCP_SAYS in shell(MCP)
    assert [one["state"] for one in world.json("cert", "list", "--agent", "assistant")] == ["live"]


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
    assert alike(PLANNER_SAYS) in alike(said)
    rows = re.findall(r"^(planner\S*) .* ([0-9a-f]{38})$", said, re.MULTILINE)
    planner, *workers = [world.json("cert", "show", serial) for _, serial in rows]
    assert [(one["parent"], one["depth"], one["scope"]) for one in workers] == [
        (planner["serial"], 1, "files:read"),
        (planner["serial"], 1, "tickets:write"),
    ]
    assert {(one["state"], one["reason"]) for one in (planner, *workers)} == {("revoked", "cessationOfOperation")}
    assert world.json("task", "show", "report")["status"] == "completed"


def test_the_examples_are_short_enough_to_be_read() -> None:
    for file in (CHECKOUT / "examples").glob("*.py"):
        assert len(file.read_text().splitlines()) <= 80, file
        assert str(Path("examples") / file.name) in file.read_text(), "it says how it is run"
