"""What a process costs and whether it is there: resident memory, CPU time, its port."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

_START_SECONDS = 30
_TICK = os.sysconf("SC_CLK_TCK")


def rss(pid: int) -> int:
    """The resident set of a process, KiB."""
    return int(subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout)


def cpu_seconds(pid: int) -> float:
    """Seconds of CPU time of all its threads, those that ended too (Linux alone tells)."""
    return _cpu(Path(f"/proc/{pid}/stat"))


def cpu_by_thread(pid: int) -> dict[int, float]:
    """Seconds of CPU time by the thread's id; nothing where the system does not tell."""
    return {int(task.name): _cpu(task / "stat") for task in Path(f"/proc/{pid}/task").glob("*")}


def _cpu(stat: Path) -> float:
    # proc(5): the fields after the name in parentheses; utime and stime are the 14th and 15th of all.
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def wait_until_it_listens(url: str, service: subprocess.Popen[bytes], log: Path) -> None:
    """Until the port takes connections. Raises `RuntimeError` with the log when the process ends first."""
    address = urlsplit(url)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if service.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex((address.hostname or "", address.port or 0)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{url} does not listen:\n{log.read_text()}")
