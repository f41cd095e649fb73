"""The pod in `deploy/kubernetes` says what the command takes: there is no cluster here to run it."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from remit.cli.enroll import enroll

MANIFEST = Path(__file__).parents[3] / "deploy" / "kubernetes" / "sidecar.yaml"


@pytest.fixture
def arguments() -> list[str]:
    text = MANIFEST.read_text()
    block = text[text.index("args:") : text.index("env:")]
    return re.findall(r"^ +- (\S+)$", block, re.MULTILINE)


def test_the_command_takes_its_arguments(arguments: list[str]) -> None:
    assert arguments[0] == "enroll"
    context = enroll.make_context("enroll", arguments[1:])
    assert context.params["watch"] is True
    assert context.params["listen"] == ("0.0.0.0", 9470)
    assert context.params["directory"] == Path("/run/credentials/agent")
    with pytest.raises(click.UsageError):
        enroll.make_context("enroll", [*arguments[1:], "--wach"])


def test_its_paths_and_ports_are_the_same_wherever_they_stand(arguments: list[str]) -> None:
    text = MANIFEST.read_text()
    said = dict(one.removeprefix("--").split("=", 1) for one in arguments if "=" in one)
    assert text.count(f"port: {said['listen'].rpartition(':')[2]}") == 3
    assert f"mountPath: {Path(said['token-file']).parent}," in text
    assert f"mountPath: {Path(said['dir']).parent}}}" in text
    assert f'audience: "{said["ca"]}"' in text, "the proof is for this authority"
    assert {"/live", "/ready"} == set(re.findall(r"path: (/\w+)", text))
