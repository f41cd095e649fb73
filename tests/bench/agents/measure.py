"""What an agent's start costs: the real authority, nginx and library; one process for all rounds, and one for each."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from remit import Agent, AsyncAgent
from tests import nginx
from tests.nginx import Nginx
from tests.world import CHECKOUT, World

Say = Callable[[str], None]

NOTHING, IMPORT, ASYNC_IMPORT, EVERYTHING = (
    "nothing",
    "from remit import Agent",
    "from remit import AsyncAgent",
    "all that an enrolment and a client load",
)
GIVEN, PINNED, BY_SYSTEM, ASYNC, COLD = (
    "the root given",
    "by the root's fingerprint",
    "servers by the system's trust",
    "AsyncAgent, the root given",
    "a new process: start, imports, enrolment, answer",
)

_PROGRAMS = {
    NOTHING: "pass",
    IMPORT: "from remit import Agent",
    ASYNC_IMPORT: "from remit import AsyncAgent",
    EVERYTHING: "import remit.starting, remit.transport, httpx2, httpcore2",
}
_COLD = """
import os
from remit import Agent
with Agent.enroll(root=os.environ["ROOT"], verify=os.environ["SERVERS"]) as me, me.client() as http:
    assert http.get(os.environ["SERVER"]).status_code == 200
"""


def run(scratch: Path, rounds: int, say: Say) -> dict[str, dict[str, list[float]]]:
    """Seconds of each round, by what was measured. Rounds of a group take turns: a slow moment is everybody's."""
    say("Imports")
    imports = _turns({name: _program(text, {}) for name, text in _PROGRAMS.items()}, rounds)
    say("The ceremony, the authority and nginx")
    world = World(scratch).init().start()
    try:
        (scratch / "nginx").mkdir()
        with nginx.running(world, scratch / "nginx") as server:
            say("From enrolment to the first answer")
            starts = _turns(_starts(world, server), rounds)
    finally:
        world.stop()
    return {"imports": imports, "starts": starts}


def _turns(acts: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """A first round warms up what is on disk, and is not counted."""
    found: dict[str, list[float]] = {name: [] for name in acts}
    for number in range(rounds + 1):
        for name, act in acts.items():
            seconds = act()
            if number:
                found[name].append(seconds)
    return found


def _starts(world: World, server: Nginx) -> dict[str, Callable[[], float]]:
    agent = world.new_agent()

    def enrolled(**options: Any) -> Callable[[], float]:
        return lambda: _until_answered(world, server, {"token": world.token(agent), **options})

    def cold() -> float:
        told = {"REMIT_CA": world.api_url, "REMIT_ENROLLMENT_TOKEN": world.token(agent), "SERVER": server.url}
        return _program(_COLD, {**told, "ROOT": str(world.root_pem), "SERVERS": str(server.root)})()

    return {
        GIVEN: enrolled(root=world.root_pem, verify=server.root),
        PINNED: enrolled(root_fingerprint=world.root_fingerprint, verify=server.root),
        BY_SYSTEM: enrolled(root=world.root_pem),
        ASYNC: lambda: asyncio.run(_until_answered_in_loop(world, server, world.token(agent))),
        COLD: cold,
    }


def _until_answered(world: World, server: Nginx, options: dict[str, Any]) -> float:
    began = perf_counter()
    with Agent.enroll(world.api_url, **options) as me, me.client() as http:
        if "verify" not in options:
            me.context.load_verify_locations(server.root)
        answer = http.get(server.url)
        took = perf_counter() - began
    assert answer.text.lower() == me.credential.serial
    return took


async def _until_answered_in_loop(world: World, server: Nginx, token: str) -> float:
    began = perf_counter()
    enrolment = AsyncAgent.enroll(world.api_url, root=world.root_pem, token=token, verify=server.root)
    async with enrolment as me, me.client() as http:
        answer = await http.get(server.url)
        took = perf_counter() - began
    assert answer.text.lower() == me.credential.serial
    return took


def _program(text: str, environment: dict[str, str]) -> Callable[[], float]:
    """The whole life of an interpreter that runs this."""

    def run() -> float:
        began = perf_counter()
        command = [sys.executable, "-c", text]
        subprocess.run(command, env={**os.environ, "PYTHONPATH": str(CHECKOUT), **environment}, check=True)
        return perf_counter() - began

    return run
