"""`remit enroll` and `remit needs-renewal`: the agent's side. A token and a fingerprint become files, kept live."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from remit.cli.common import clock, listener, moment, seconds, show

if TYPE_CHECKING:
    from remit.credential import Credential
    from remit.holder import Holder
    from remit.proof import Proofs
    from remit.sidecar.watch import Watch

_Command = TypeVar("_Command", bound=Callable[..., Any])
_SHOWN = ("serial", "spiffe_id", "task", "not_after", "renew_after", "files")

_ASKING = (
    click.option("--ca", "url", envvar="REMIT_CA", required=True, help="The authority's URL."),
    click.option(
        "--root-fingerprint",
        envvar="REMIT_ROOT_FINGERPRINT",
        required=True,
        help="SHA-256 of its root, as 'remit init' prints it.",
    ),
    click.option(
        "--token-file",
        type=click.Path(allow_dash=True),
        help="A file with the enrolment token, or another proof, read anew each time; - is stdin.",
    ),
    click.option(
        "--token",
        envvar="REMIT_ENROLLMENT_TOKEN",
        help="The token itself; other processes can read a command line, so prefer the file.",
    ),
    click.option("--dir", "directory", type=click.Path(path_type=Path), required=True, help="Where the files go."),
    click.option("--task", help="The task that the token was made for."),
    click.option("--scope", help="A narrower scope than the task's."),
    click.option("--not-after", callback=moment, help="An earlier end than policy gives: a time, or a duration."),
    click.option("--wait", default="30s", show_default=True, callback=seconds, help="How long a busy CA is tried."),
    click.option("--json", "as_json", is_flag=True, help="Answer in JSON, without certificates."),
)

_KEEPING = (
    click.option("--once", is_flag=True, help="Keep what is live in DIR, renew it if it is due, or enrol; then end."),
    click.option("--watch", is_flag=True, help="The same, and go on: renew it for as long as this runs."),
    click.option("--exec", "command", help="Start this once there is a certificate, and end with it; goes on."),
    click.option("--reload", metavar="SIGNAL|restart", help="What the program is told after each new certificate."),
    click.option("--pid-file", type=click.Path(path_type=Path), help="Tell the process of this file, not --exec's."),
    click.option("--on-renew", metavar="COMMAND", help="Run this after each new certificate; REMIT_DIR names DIR."),
    click.option("--stop-when-refused", is_flag=True, help="End, with the program, once the certificate is revoked."),
    click.option("--listen", metavar="HOST:PORT", callback=listener, help="Serve /live and /ready there."),
)


def _with(options: tuple[Callable[[_Command], _Command], ...]) -> Callable[[_Command], _Command]:
    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@click.command()
@_with(_ASKING)
@_with(_KEEPING)
def enroll(
    url: str,
    root_fingerprint: str,
    token_file: str | None,
    token: str | None,
    directory: Path,
    wait: int,
    as_json: bool,
    once: bool,
    watch: bool,
    **rest: Any,
) -> None:
    """Makes a key here, has it certified, and writes key, chain and root together; with --watch, keeps them live."""
    from remit import files
    from remit.authority import Authority
    from remit.holder import Holder

    asked = {name: rest.pop(name) for name in ("task", "scope", "not_after")}
    watch = watch or rest["command"] is not None
    _check(rest, once=once, watch=watch)
    files.check(directory)
    kept = directory if once or watch else None
    proofs = _proofs(token_file, token, needed=kept is None)
    holder = Holder(Authority(url, root_fingerprint=root_fingerprint), proofs, asked=asked, directory=kept)
    if watch:
        sys.exit(_watch(holder, directory, **rest))
    credential = _kept(holder, wait) if once else holder.obtain(wait)
    if kept is None:
        files.write(directory, credential.contents)
    answer = {**credential.said, "files": str(directory)}
    if as_json:
        click.echo(json.dumps({**credential.said, "dir": str(directory)}, indent=2))
    else:
        show(answer, False, _SHOWN)


@click.command("needs-renewal")
@click.argument("where", type=click.Path(path_type=Path))
@click.option("--expires-in", metavar="DURATION|PERCENT", help="Due when less is left, such as 5m or 25%.")
def needs_renewal(where: Path, expires_in: str | None) -> None:
    """Whether the certificate in the directory or file WHERE is due: by what the authority said, or --expires-in.

    Exits 0 if it is, 1 if it is not, 2 if there is none, 255 if it cannot be read.
    """
    from remit.sidecar import due

    try:
        is_due, sentence = due.judge(where, expires_in, clock())
    except FileNotFoundError as error:
        click.echo(f"remit: {error}", err=True)
        sys.exit(2)
    except (OSError, ValueError) as error:
        click.echo(f"remit: {error}", err=True)
        sys.exit(255)
    click.echo(sentence, err=True)
    sys.exit(0 if is_due else 1)


def _check(rest: dict[str, Any], *, once: bool, watch: bool) -> None:
    """Options that mean nothing together are refused rather than passed over."""
    going_on = [name for name in ("reload", "pid_file", "on_renew", "stop_when_refused", "listen") if rest[name]]
    if once and watch:
        raise click.UsageError("--once ends and --watch goes on; give one of them.")
    if going_on and not watch:
        raise click.UsageError(f"--{going_on[0].replace('_', '-')} goes with --watch or --exec.")
    if rest["pid_file"] and not rest["reload"]:
        raise click.UsageError("--pid-file needs --reload SIGNAL.")
    if rest["reload"] and not (rest["pid_file"] or rest["command"]):
        raise click.UsageError("--reload needs --exec or --pid-file: whom it tells.")


def _proofs(token_file: str | None, token: str | None, *, needed: bool) -> Proofs:
    from remit.proof import Proofs

    if token_file == "-":  # noqa: S105 (stdin, no secret)
        return Proofs(sys.stdin.read().strip())
    if token_file is not None:
        return Proofs(Path(token_file))
    if token is None and needed:
        raise click.UsageError("Give the token by --token-file, or by --token or REMIT_ENROLLMENT_TOKEN.")
    return Proofs(token and token.strip())


def _kept(holder: Holder, wait: int) -> Credential:
    """What is live stays until it is due."""
    from remit.upkeep import State

    credential = holder.obtain(wait)
    return holder.renew() if holder.state is State.OVERDUE else credential


def _watch(
    holder: Holder,
    directory: Path,
    command: str | None,
    listen: tuple[str, int] | None,
    stop_when_refused: bool,
    **after: Any,
) -> int:
    from remit.sidecar import turn
    from remit.sidecar.watch import Watch

    program = None if command is None else _split(command)
    watch = Watch(holder, _say, program, stops_when_refused=stop_when_refused)
    _set_reloads(watch, directory, **after)
    with turn.taken(directory):
        if listen is not None:
            _serve(listen, {"/live": watch.live, "/ready": watch.ready})
        return watch.run()


def _serve(listen: tuple[str, int], answers: dict[str, Callable[[], tuple[bool, str]]]) -> None:
    from remit.failed import Failed
    from remit.sidecar import probes

    try:
        probes.serve(*listen, answers)
    except OSError as error:
        where = ":".join(map(str, listen))
        raise Failed(f"{where} cannot be listened on ({error.strerror}); name another address by --listen.") from error


def _set_reloads(
    watch: Watch, directory: Path, reload: str | None, pid_file: Path | None, on_renew: str | None
) -> None:
    from remit.sidecar.reload import RESTART, Command, Restart, Signal, SignalFile, number_of

    if reload is not None and reload != RESTART:
        try:
            number = number_of(reload)
        except ValueError as error:
            raise click.BadParameter(f"{error}; give one such as HUP, or {RESTART}", param_hint="--reload") from None
        if pid_file is not None:
            watch.reloads.append(SignalFile(pid_file, number))
        elif watch.child is not None:
            watch.reloads.append(Signal(watch.child, number))
    elif reload == RESTART:
        if watch.child is None or pid_file is not None:
            raise click.UsageError("Only the program of --exec can be started anew.")
        watch.reloads.append(Restart(watch.child))
    if on_renew is not None:
        watch.reloads.append(Command(_split(on_renew), directory, watch.runs_beside))


def _split(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise click.UsageError(f"{command!r} is no command: {error}.") from None
    if not words:
        raise click.UsageError("A command has at least one word.")
    return words


def _say(sentence: str) -> None:
    click.echo(f"{clock():%H:%M:%S}Z remit: {sentence}", err=True)


COMMANDS = (enroll, needs_renewal)
