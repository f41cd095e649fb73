"""The application in this process, with an agent that has a certificate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ca.authority.stage import Stage
from tests.ca.web.calls import Calls


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """An authority that would issue: the agent and its task are there."""
    made = Stage(tmp_path)
    made.agent()
    made.task()
    yield made
    made.close()


@pytest.fixture
def calls(stage: Stage) -> Calls:
    return Calls(stage)
