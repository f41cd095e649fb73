"""SoftHSM's configuration file."""

import os
from pathlib import Path

import pytest

from softhsm.configuration import configuration_file, use, write_configuration

SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")


def test_it_names_the_token_directory_and_nobody_else_may_look(tmp_path: Path) -> None:
    directory = tmp_path / "a b" / "token"
    file = write_configuration(directory)
    assert file == configuration_file(directory)
    assert f"directories.tokendir = {directory / 'tokens'}\n" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700
    assert sorted(entry.name for entry in directory.iterdir()) == ["softhsm2.conf", "tokens"]


def test_a_directory_that_moved_is_named_anew(tmp_path: Path) -> None:
    write_configuration(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    assert str(tmp_path / "new" / "tokens") in write_configuration(tmp_path / "new").read_text()


def test_a_path_that_the_parser_would_cut_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'#' begins a comment"):
        write_configuration(tmp_path / "home#1")
    assert list(tmp_path.iterdir()) == []


def test_use_sets_the_variable_for_softhsm_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", "before")
    use(SOFTHSM, tmp_path)  # not made yet
    write_configuration(tmp_path)
    use(Path("/usr/lib/vendor.so"), tmp_path)
    assert os.environ["SOFTHSM2_CONF"] == "before"
    use(SOFTHSM, tmp_path)
    assert os.environ["SOFTHSM2_CONF"] == str(tmp_path / "softhsm2.conf")
