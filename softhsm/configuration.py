"""SoftHSM's configuration file, and the one environment variable through which the library finds it."""

from __future__ import annotations

import os
from pathlib import Path

from softhsm.locate import is_softhsm
from softhsm.private_file import write_private

_TEMPLATE = Path(__file__).with_name("softhsm2.conf")
_VARIABLE = "SOFTHSM2_CONF"


def configuration_file(directory: Path) -> Path:
    """Where the configuration of the tokens in `directory` is."""
    return directory / "softhsm2.conf"


def write_configuration(directory: Path) -> Path:
    """Makes `directory` (0700) with a place for tokens and the configuration (0600) that names it.

    Written anew each time, because the directory may have moved. Raises `OSError`, and
    `ValueError` for a path that SoftHSM's parser would cut.
    """
    directory = directory.absolute()
    if any(character in str(directory) for character in "#\r\n"):
        raise ValueError(f"SoftHSM cannot keep tokens in {directory}: '#' begins a comment in its configuration.")
    tokens = directory / "tokens"
    tokens.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    file = configuration_file(directory)
    write_private(file, _TEMPLATE.read_text().replace("@tokens@", str(tokens)))
    return file


def use(module: Path, directory: Path) -> None:
    """Points this process at the tokens in `directory`, if `module` is SoftHSM and they have been made.

    To be called before the module is loaded; SoftHSM reads the variable at each C_Initialize.
    """
    file = configuration_file(directory)
    if is_softhsm(module) and file.is_file():
        os.environ[_VARIABLE] = str(file.absolute())
