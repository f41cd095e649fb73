"""To an authority nothing is sent but over TLS: its root is public, and so proves nothing of a stranger in between."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from remit import Agent, Failed
from tests.world import World

WRONG = ("http://{}", "{}", "//{}", "ftp://{}", "https://token@{}", "https://", "http://[")


@pytest.mark.parametrize("form", WRONG)
def test_a_url_that_is_not_https_gets_no_packet(form: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        stranger.setblocking(False)
        url = form.format(f"127.0.0.1:{stranger.getsockname()[1]}")
        with pytest.raises(Failed, match="is no https URL"):
            Agent.enroll(url, root_fingerprint="0" * 64, token="remit_et_secret")
        with pytest.raises(BlockingIOError):
            stranger.accept()


def test_the_command_says_so_too(world: World, tmp_path: Path) -> None:
    asked = ("--ca", "http://127.0.0.1:1", "--root-fingerprint", world.root_fingerprint, "--dir", tmp_path / "creds")
    done = world.cli("enroll", *asked, "--token", "remit_et_secret")
    assert (done.returncode, "is no https URL" in done.stderr) == (1, True)
    assert "secret" not in done.stderr
    listed = world.cli("agent", "list", "--ca", "http://127.0.0.1:1")
    assert (listed.returncode, "is no https URL" in listed.stderr) == (1, True)
