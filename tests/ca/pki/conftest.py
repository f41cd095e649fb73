"""One hierarchy in memory for all tests of this room: nothing here changes it."""

import pytest

from tests.ca.pki.specimens import Hierarchy


@pytest.fixture(scope="session")
def hierarchy() -> Hierarchy:
    return Hierarchy()
