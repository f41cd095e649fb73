"""A fresh authority with an agent and its task, for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ca.authority.stage import Stage


@pytest.fixture
def ready(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    made.agent()
    made.task()
    yield made
    made.close()
