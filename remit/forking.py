"""What a process that forks leaves to its child: servers that load the program once and fork their workers do."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Heir(Protocol):
    """A child has no threads but the one that forked, and locks as they stood in its parent."""

    def go_on_in_child(self) -> None:
        """Called in every child, before anything else happens there."""


# The one state of a module here: `os` forgets nothing that is registered, and agents come and go.
_HEIRS: WeakSet[Heir] = WeakSet()


def after_fork(heir: Heir) -> None:
    """For as long as the object lives."""
    _HEIRS.add(heir)


def _in_child() -> None:
    for heir in tuple(_HEIRS):
        heir.go_on_in_child()


os.register_at_fork(after_in_child=_in_child)
