"""`tls.key`, `tls.crt` and `ca.crt` in a directory, changed together.

The three names are links through `..data` to a versioned directory, as Kubernetes does for its
secrets: a new version is written whole and synced, then one rename puts it in place. Whoever
opens the files sees the old three or the new three, never a mixture.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

KEY, CERTIFICATE, ROOT = "tls.key", "tls.crt", "ca.crt"
ABOUT = "remit.json"
"""What the authority said of the certificate, beside the three in their version; it has no link."""

_CURRENT = "..data"


class Foreign(Exception):  # noqa: N818 (said to a person as it is)
    """The directory holds files that were not written here: they are not touched."""


@dataclass(frozen=True, slots=True)
class Contents:
    """A private key, the chain that it presents (leaf and issuing CA), the root it trusts: PEM. `about` is JSON."""

    key: bytes
    chain: bytes
    root: bytes
    about: bytes = b""


def check(directory: Path) -> None:
    """Raises `Foreign` when a file here is somebody else's, before anything is asked for."""
    for name in (KEY, CERTIFICATE, ROOT):
        file = directory / name
        if file.exists() and not file.is_symlink():
            raise Foreign(f"{file} was not written by remit; move it away or choose another --dir.")


def write(directory: Path, contents: Contents) -> None:
    """Puts them in place; directories 0700, files 0600, all synced. Raises `Foreign`, `OSError`."""
    check(directory)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    version = directory / f"..{token_hex(8)}"
    version.mkdir(mode=0o700)
    files = {KEY: contents.key, CERTIFICATE: contents.chain, ROOT: contents.root, ABOUT: contents.about}
    for name, octets in files.items():
        if octets:
            write_private(version / name, octets)
    _sync(version)
    before = (directory / _CURRENT).resolve()
    _swap(directory / _CURRENT, version.name)
    for name in (KEY, CERTIFICATE, ROOT):
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(Path(_CURRENT) / name)
    _sync(directory)
    if before != version and before.parent == directory.resolve() and before.name.startswith(".."):
        shutil.rmtree(before, ignore_errors=True)


def read(directory: Path) -> dict[str, bytes] | None:
    """What `write` put there, by name, all of one version; None where there is nothing of ours. Raises `OSError`."""
    try:
        version = (directory / _CURRENT).resolve(strict=True)
        return {name: (version / name).read_bytes() for name in (KEY, CERTIFICATE, ROOT, ABOUT)}
    except FileNotFoundError:
        return None


def write_private(file: Path, contents: bytes) -> None:
    """A new file of mode 0600, synced. Raises `FileExistsError`, `OSError`."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(contents)
        stream.flush()
        os.fsync(stream.fileno())


def _swap(link: Path, target: str) -> None:
    draft = link.with_name(f"{link.name}.{token_hex(4)}")
    draft.symlink_to(target)
    draft.replace(link)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
