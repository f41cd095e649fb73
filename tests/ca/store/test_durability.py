"""A database that may lose an answered commit is not written to: a real PostgreSQL, as administrators set it up."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ca.store import durability
from ca.store.status import StatusReader
from ca.store.transaction import open_engine
from tests.postgres import Cluster, binaries
from tests.world import World


@pytest.fixture
def own() -> Iterator[Cluster]:
    """A PostgreSQL whose settings are this test's alone."""
    programs = binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not on this machine; ./deploy/test installs it")
    made = Cluster(programs)
    yield made
    made.stop()


def shortfall(url: str) -> str | None:
    engine = open_engine(url, writable=False)
    try:
        with engine.connect() as connection:
            return durability.shortfall(connection)
    finally:
        engine.dispose()


def test_a_database_as_it_comes_is_durable(database_url: str) -> None:
    assert shortfall(database_url) is None


def test_each_setting_that_loses_commits_is_named(own: Cluster) -> None:
    url = own.new_database()
    for setting, accepted, values in (
        ("synchronous_commit", ("on", "remote_apply"), ("off", "local", "remote_write")),
        ("fsync", ("on",), ("off",)),
        ("full_page_writes", ("on",), ("off",)),
    ):
        for value in values:
            own.configure(url, setting, value)
            said = shortfall(url)
            assert said is not None
            assert f"{setting} is {value}" in said
        for value in reversed(accepted):
            own.configure(url, setting, value)
            assert shortfall(url) is None


@pytest.mark.slow
def test_the_authority_does_not_start_on_it_and_the_doctor_says_why(own: Cluster, tmp_path: Path) -> None:
    url = own.new_database()
    world = World(tmp_path, REMIT_DATABASE_URL=url).init()
    own.configure(url, "synchronous_commit", "off")
    started = subprocess.run(
        [sys.executable, "-m", "ca.server"],
        env=world.environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert started.returncode == 1
    assert "synchronous_commit is off" in started.stderr
    findings = json.loads(world.cli("doctor", "--json").stdout)
    [database] = [one for one in findings if one["part"] == "database"]
    assert database["verdict"] == "wrong"
    assert "synchronous_commit is off" in database["sentence"]


def test_a_standby_takes_no_authority_but_serves_the_status(own: Cluster, tmp_path: Path) -> None:
    url = own.new_database()
    World(tmp_path, REMIT_DATABASE_URL=url).init()
    own.become_standby()
    said = shortfall(url)
    assert said is not None
    assert "standby" in said
    status = StatusReader(url)
    assert status.version() == status.version()
    status.close()
