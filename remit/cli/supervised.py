"""`python -m remit.cli.supervised MODULE`: runs a server that ends when its supervisor does.

Standard input is a pipe that only the supervisor holds: when it ends, however that came, even by
SIGKILL, so does the server, and the next start finds the ports free.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def main() -> None:
    """Runs the module as a program, with a thread that waits for the end of standard input."""
    module = sys.argv.pop(1)
    threading.Thread(target=_watch, name="supervisor-watch", daemon=True).start()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _watch() -> None:
    # The descriptor itself: a reader blocked inside sys.stdin would hold its lock at the interpreter's end.
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
