"""The world that most tests share: started once, and left running."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.world import World

# What an act costs is asserted in CPU time where it matters; the clock on the wall also counts the neighbours.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A running authority and status service. Tests make their own agents and leave others' alone."""
    made = World(tmp_path_factory.mktemp("world")).init().start()
    yield made
    made.stop()
