"""`remit init`, `serve` and `doctor`: on the authority's own machine, by its own programs.

They run as processes of their own: the command's package knows nothing of the servers.
"""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from types import FrameType

import click

_STOP_SECONDS = 15

CLOSING_REASONS = ("cACompromise", "cessationOfOperation", "superseded")


@click.command()
def init() -> None:
    """Makes the authority: token, root, issuing CA, responder, database, admin. Run again, it changes nothing."""
    sys.exit(run("ca.ceremony"))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@click.option("--lint", "with_lint", is_flag=True, help="Let pkilint judge the newest of each kind that was signed.")
def doctor(as_json: bool, with_lint: bool) -> None:
    """Looks at every part, and says what is wrong and how to mend it."""
    wanted = {"--json": as_json, "--lint": with_lint}
    sys.exit(run("ca.doctor", *(flag for flag, is_wanted in wanted.items() if is_wanted)))


@click.command("close")
@click.option("--reason", type=click.Choice(CLOSING_REASONS), required=True)
@click.option(
    "--fingerprint", metavar="SHA256", required=True, help="Of the issuing CA's certificate (/ca/issuing-1.cer)."
)
def close(reason: str, fingerprint: str) -> None:
    """Ends the authority: the root revokes the issuing CA, and with it everything that it issued. For good.

    The CA must be stopped; the status service may run, and tells the world.
    """
    sys.exit(run("ca.closing", reason, fingerprint))


@click.command()
def serve() -> None:
    """Runs the CA and the status service in the foreground until Ctrl-C; if one ends, both do."""
    services = {name: _start(module) for name, module in (("CA", "ca.server"), ("status service", "ocsp.server"))}
    told = Told()
    ended = None
    while ended is None and not told.to_stop:
        time.sleep(0.1)
        ended = next((name for name, process in services.items() if process.poll() is not None), None)
    _stop(services.values())
    if not told.to_stop:
        click.echo(f"remit: the {ended} ended by itself, so both were stopped; its last words are above.", err=True)
        sys.exit(1)


class Told:
    """Whether a signal said to stop."""

    def __init__(self) -> None:
        self.to_stop = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.to_stop = True


def _start(module: str) -> subprocess.Popen[bytes]:
    _require(module)
    # A session of its own: Ctrl-C comes to us alone, and we tell each service once; the pipe tells it of our death.
    command = [sys.executable, "-m", "remit.cli.supervised", module]
    return subprocess.Popen(command, start_new_session=True, stdin=subprocess.PIPE)  # noqa: S603 (our own module)


def run(module: str, *arguments: str) -> int:
    """A program of the servers' code, to its end; its exit status. It ends with 1 where they are not installed."""
    _require(module)
    return subprocess.run([sys.executable, "-m", module, *arguments], check=False).returncode  # noqa: S603 (as above)


def _require(module: str) -> None:
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        click.echo("remit: the servers are not installed here; run this from the checkout or the image.", err=True)
        sys.exit(1)


def _stop(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


COMMANDS = (init, serve, doctor, close)
