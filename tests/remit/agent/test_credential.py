"""What an agent holds, in memory and in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from remit import files
from remit.credential import Credential
from remit.failed import Failed
from remit.holder import clock
from remit.keys import AgentKey
from tests.world import World


@pytest.fixture
def answered(world: World) -> tuple[AgentKey, dict[str, Any]]:
    key = AgentKey.generate()
    answer = world.post_csr(world.token(world.new_agent()), key.csr().encode())
    return key, answer.json()


def made(answered: tuple[AgentKey, dict[str, Any]], **changes: Any) -> Credential:
    key, answer = answered
    return Credential.of(key.pem, b"root", {**answer, **changes}, clock())


def test_it_is_what_the_authority_said(answered: tuple[AgentKey, dict[str, Any]]) -> None:
    said = {name: value for name, value in answered[1].items() if name not in ("certificate", "chain")}
    assert made(answered).said == said


def test_it_comes_back_from_files_as_it_went_but_for_when_it_was_had(
    answered: tuple[AgentKey, dict[str, Any]], tmp_path: Path
) -> None:
    one = made(answered)
    files.write(tmp_path, one.contents)
    found = files.read(tmp_path)
    assert found is not None
    again = Credential.from_files(found)
    assert (again.said, again.contents, again.since) == (one.said, one.contents, one.not_before)
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("..")) == [
        "ca.crt",
        "tls.crt",
        "tls.key",
    ]


@pytest.mark.parametrize(
    "changes", [{"chain": ""}, {"chain": None}, {"not_after": "soon"}, {"serial": None, "chain": "-----BEGIN"}]
)
def test_what_is_no_certificate_is_not_one(answered: tuple[AgentKey, dict[str, Any]], changes: Any) -> None:
    with pytest.raises(Failed, match="no certificate for this key"):
        made(answered, **changes)


def test_of_another_key_it_is_not_one(answered: tuple[AgentKey, dict[str, Any]]) -> None:
    with pytest.raises(Failed, match="no certificate for this key"):
        made((AgentKey.generate(), answered[1]))


def test_where_nothing_was_written_nothing_is_read(tmp_path: Path) -> None:
    assert files.read(tmp_path) is None
    assert files.read(tmp_path / "none") is None
    files.write(tmp_path, files.Contents(b"key", b"chain", b"root"))
    assert files.read(tmp_path) is None, "an operator's, of which nothing is said"


def test_no_secret_is_shown(answered: tuple[AgentKey, dict[str, Any]]) -> None:
    assert "PRIVATE" not in repr(made(answered))
