"""A fresh authority for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ca.authority.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.close()


@pytest.fixture
def ready(stage: Stage) -> Stage:
    """With the agent `bot` and its task `invoices`."""
    stage.agent()
    stage.task()
    return stage
