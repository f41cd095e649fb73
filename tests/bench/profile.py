"""Where the time of one certificate goes: the CA's CPU time by thread, and what its threads did when looked at.

The first half of the load runs undisturbed while each thread's CPU time is read (Linux alone tells);
the second under py-spy, which looks at every thread's stack a hundred times a second without
stopping it. A thread counts when it runs or waits for the disk, or, with `gil`, when it holds the
interpreter's lock, of which all threads share one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.generator import Generator
from tests.bench.process import cpu_by_thread
from tests.bench.services import Ours

_PER_SECOND = 100
_THREAD = re.compile(r"thread \((\d+)\): (.*)")
_LINE = re.compile(r":\d+\)$")
_SHOWN = 0.01
_EVERYWHERE = 0.97


class NoPySpy(Exception):  # noqa: N818 (said to a person as it is)
    """There is no profiler: one sentence with the mend."""


@dataclass
class Seen:
    """The samples of one thread: all, and those with a function anywhere or innermost on the stack."""

    samples: int = 0
    inclusive: Counter[str] = field(default_factory=Counter)
    innermost: Counter[str] = field(default_factory=Counter)


def profile(ours: Ours, generator: Generator, *, clients: int, seconds: float, gil: bool, console: Console) -> None:
    """Measures and prints. Raises `NoPySpy`."""
    spy = _spy()
    ours.stock(int(2 * seconds * 6000))
    pid = ours.processes()["CA"]
    before = cpu_by_thread(pid)
    calm = generator.enrol(ours.target, clients=clients, seconds=seconds, warm_up=0)
    after = cpu_by_thread(pid)
    costs = {thread: (spent - before.get(thread, 0.0)) / calm["count"] * 1e6 for thread, spent in after.items()}
    stacks = ours.directory / "stacks"
    command = [spy, "record", "--pid", str(pid), "--duration", str(int(seconds)), "--rate", str(_PER_SECOND)]
    command += ["--threads", "--nonblocking", "--format", "raw", "--output", str(stacks), *(["--gil"] if gil else [])]
    spying = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    watched = generator.enrol(ours.target, clients=clients, seconds=seconds, warm_up=0)
    spying.wait()
    console.print(
        f"{clients} clients: {calm['rate']:,.0f} certificates a second ({watched['rate']:,.0f} under the profiler); "
        f"{sum(costs.values()):,.0f} us of CPU time each in the CA."
    )
    threads = read(stacks.read_text())
    samples = sum(seen.samples for seen in threads.values())
    for (name, number), seen in sorted(threads.items(), key=lambda item: -item[1].samples):
        if seen.samples >= samples * _SHOWN:
            console.print(_table(f"{name}: {costs.get(number, 0.0):,.0f} us of CPU time a certificate", seen, samples))


def _spy() -> str:
    """The profiler: beside this interpreter, or on the path."""
    found = shutil.which("py-spy", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if found is None:
        raise NoPySpy("The profile needs py-spy: pip install py-spy.")
    return found


def read(stacks: str) -> dict[tuple[str, int], Seen]:
    """py-spy's collapsed stacks, by the name and the id of their thread."""
    threads: dict[tuple[str, int], Seen] = defaultdict(Seen)
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        name, number = _thread(thread)
        functions = [_LINE.sub(")", frame) for frame in frames]
        seen = threads[name, number]
        seen.samples += int(count)
        seen.innermost[functions[-1] if functions else "?"] += int(count)
        for function in set(functions):
            seen.inclusive[function] += int(count)
    return threads


def _thread(text: str) -> tuple[str, int]:
    match = _THREAD.fullmatch(text)
    return (match[2], int(match[1])) if match else (text, 0)


def _table(title: str, seen: Seen, samples: int) -> Table:
    """One thread: its functions from the most to the least expensive, in hundredths of all threads' samples."""
    table = Table(title=title, title_justify="left")
    table.add_column("% with what it calls", justify="right")
    table.add_column("% by itself", justify="right")
    table.add_column("function")
    for function, count in seen.inclusive.most_common():
        # What is at the bottom of every stack says nothing.
        if samples * _SHOWN <= count < seen.samples * _EVERYWHERE:
            alone = seen.innermost[function] / samples
            table.add_row(f"{count / samples:.1%}", f"{alone:.1%}", function)
    return table
