"""One hierarchy in memory for all tests of this room: nothing here changes it."""

import pytest
from hypothesis import settings

from tests.ca.pki.specimens import Hierarchy

# What an act costs is asserted in CPU time where it matters; the clock on the wall also counts the neighbours.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def hierarchy() -> Hierarchy:
    return Hierarchy()
