"""Where SoftHSM is on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

_NAME = "libsofthsm2.so"

KNOWN_PLACES = (
    Path("/usr/lib/softhsm"),  # Debian, Ubuntu
    Path("/usr/lib/x86_64-linux-gnu/softhsm"),
    Path("/usr/lib/aarch64-linux-gnu/softhsm"),
    Path("/usr/lib64/softhsm"),
    Path("/usr/local/lib/softhsm"),  # built from source; Homebrew on Intel
    Path("/opt/homebrew/lib/softhsm"),  # Homebrew on Apple silicon
    Path("/opt/homebrew/opt/softhsm/lib/softhsm"),
    Path("/usr/local/opt/softhsm/lib/softhsm"),
)


class ModuleMissing(FileNotFoundError):  # noqa: N818 (said to a person as it is)
    """SoftHSM is not where any system puts it: one sentence, with the mend."""


def find_module(places: Iterable[Path] = KNOWN_PLACES) -> Path:
    """The SoftHSM library of this machine. Raises `ModuleMissing`."""
    for place in places:
        if (place / _NAME).is_file():
            return place / _NAME
    raise ModuleMissing(
        "SoftHSM is not installed: `apt install libsofthsm2` or `brew install softhsm`, "
        "or name another PKCS#11 module in REMIT_PKCS11__MODULE."
    )


def is_softhsm(module: Path) -> bool:
    """Whether this module is SoftHSM and so reads our configuration file."""
    return module.name.startswith("libsofthsm2")
