"""A password in the database's URL is in no log, no error and no argument, whatever is asked and whatever fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.postgres import Cluster
from tests.world import CALL_SECONDS, World, free_port, key_and_csr

PASSWORD = "canary-3f9a"
SERVICES = ("ca.server", "ocsp.server")
COMMANDS = (("init",), ("doctor",), ("doctor", "--json"), ("doctor", "--lint"))


@pytest.fixture
def nowhere(tmp_path: Path) -> World:
    """Its database does not answer."""
    url = f"postgresql+psycopg://remit:{PASSWORD}@127.0.0.1:{free_port()}/remit?connect_timeout=2"
    return World(tmp_path, REMIT_DATABASE_URL=url)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_that_fails_does_not_say_it(nowhere: World, command: tuple[str, ...]) -> None:
    done = nowhere.cli(*command)
    assert done.returncode != 0
    assert PASSWORD not in done.stdout + done.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_cannot_start_does_not_say_it(nowhere: World, service: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", service],
        env=nowhere.environment,
        cwd=nowhere.directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=CALL_SECONDS,
    )
    assert done.returncode == 1
    assert PASSWORD not in done.stdout + done.stderr


def test_trying_rules_on_a_database_that_does_not_answer_does_not_say_it(nowhere: World) -> None:
    rules, pin = nowhere.directory / "rules.cedar", nowhere.home / "pin"
    rules.write_text("// Nothing.\n")
    pin.parent.mkdir()
    pin.write_text("1234")
    odd = nowhere.environment["REMIT_DATABASE_URL"].replace("postgresql+psycopg", "postgres")
    for url in (nowhere.environment["REMIT_DATABASE_URL"], odd):
        nowhere.environment["REMIT_DATABASE_URL"] = url
        done = nowhere.cli("policy", "test", rules)
        assert (done.returncode, "The database cannot be" in done.stderr) == (2, True), done.stderr
        assert PASSWORD not in done.stdout + done.stderr


@pytest.mark.slow
def test_services_that_run_and_lose_their_database_do_not_say_it(postgres: Cluster, tmp_path: Path) -> None:
    url = postgres.new_database().replace("@", f":{PASSWORD}@")
    world = World(tmp_path, REMIT_DATABASE_URL=url).init().start()
    try:
        token = world.token(world.new_agent())
        postgres.forbid(url)
        world.post_csr(token, key_and_csr()[1])
        arguments = subprocess.run(["ps", "-A", "-o", "args="], capture_output=True, text=True, check=True).stdout
    finally:
        postgres.allow(url)
        world.stop()
    assert PASSWORD not in world.log() + arguments
    assert PASSWORD not in "".join(
        file.read_text(errors="replace") for file in world.home.rglob("*") if file.is_file() and file.suffix != ".db"
    )
