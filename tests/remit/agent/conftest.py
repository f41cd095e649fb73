"""An authority whose certificates live for seconds, and an nginx that lets in nobody without one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.nginx import Nginx, running
from tests.world import World

LIFE_SECONDS = 10
OVERLAP_SECONDS = 5


@pytest.fixture(scope="session")
def brief(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A running authority whose certificates live for `LIFE_SECONDS`, `OVERLAP_SECONDS` of them beside the next."""
    settings = {
        "REMIT_CERTIFICATES__LIFETIME": f"{LIFE_SECONDS}s",
        "REMIT_CERTIFICATES__SHORTEST": "1s",
        "REMIT_CERTIFICATES__OVERLAP": f"{OVERLAP_SECONDS}s",
    }
    made = World(tmp_path_factory.mktemp("brief"), **settings).init().start()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def nginx(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """For holders of the shared world's certificates."""
    with running(world, tmp_path_factory.mktemp("nginx")) as server:
        yield server


@pytest.fixture(scope="session")
def brief_nginx(brief: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """For holders of the brief world's."""
    with running(brief, tmp_path_factory.mktemp("brief-nginx")) as server:
        yield server
