"""The world that most tests share: started once, and left running."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from ca.store import schema
from tests.postgres import Cluster, binaries
from tests.world import BRIEF_SECONDS, World

# What an act costs is asserted in CPU time where it matters; the clock on the wall also counts the neighbours.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A running authority and status service. Tests make their own agents and leave others' alone.

    A certificate that is asked to live for no longer than `BRIEF_SECONDS` has no pointers to its status.
    """
    settings = {"REMIT_CERTIFICATES__NO_REVOCATION_UNDER": f"{BRIEF_SECONDS}s"}
    made = World(tmp_path_factory.mktemp("world"), **settings).init().start()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL of this session's own."""
    programs = binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not on this machine; ./deploy/test installs it")
    made = Cluster(programs)
    yield made
    made.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database: whoever asks for it is tried on both kinds."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'remit.db'}"
    cluster: Cluster = request.getfixturevalue("postgres")
    return cluster.new_database()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with the schema of today, of both kinds."""
    if request.param == "postgresql":
        cluster: Cluster = request.getfixturevalue("postgres")
        return cluster.migrated_database()
    url = f"sqlite:///{tmp_path / 'remit.db'}"
    schema.upgrade(url)
    return url
