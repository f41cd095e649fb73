"""The application in this process, with an agent that has a certificate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ca.authority.stage import Stage
from tests.ca.web.calls import Calls


@pytest.fixture
def calls(tmp_path: Path) -> Iterator[Calls]:
    stage = Stage(tmp_path)
    stage.agent()
    stage.task()
    yield Calls(stage)
    stage.close()
