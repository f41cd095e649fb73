"""`remit watch-status`: looks at what is published as a stranger would, and says how fresh it is."""

from __future__ import annotations

import json
import signal
import threading
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from remit.cli.common import clock, default_credential, length, listener, seconds, show_table

if TYPE_CHECKING:
    from http.server import ThreadingHTTPServer

    from cryptography import x509

    from remit.watch.chain import Anchor
    from remit.watch.finding import Finding, State
    from remit.watch.look import Look, Watch
    from remit.watch.serve import Board

COLUMNS = ("state", "kind", "says", "left", "used", "url")
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command("watch-status")
@click.option(
    "--certificate",
    "certificates",
    type=_FILE,
    multiple=True,
    help="Follow this certificate's pointers; may be repeated. [default: the operator's own; with --status the CA's]",
)
@click.option(
    "--status",
    metavar="URL",
    help="Ask everything of this URL instead of where certificates point, such as one replica.",
)
@click.option("--root", type=_FILE, help="The trusted root. [default: ca.crt of the operator's credential]")
@click.option("--root-fingerprint", metavar="SHA256", help="Or its SHA-256.")
@click.option(
    "--expect",
    type=click.Choice(["good", "revoked", "any"]),
    default="good",
    show_default=True,
    help="The status that OCSP must give.",
)
@click.option(
    "--warn",
    type=click.IntRange(1, 100),
    metavar="PERCENT",
    default=50,
    show_default=True,
    help="A warning when so much of a life is over; more where caches stand before OCSP.",
)
@click.option(
    "--critical",
    type=click.IntRange(1, 100),
    metavar="PERCENT",
    default=75,
    show_default=True,
    help="Critical when so much is over.",
)
@click.option("--once", is_flag=True, help="One look. [default]")
@click.option(
    "--every", metavar="DURATION", callback=seconds, help="Look again and again, such as every 30s, until Ctrl-C."
)
@click.option(
    "--metrics",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write Prometheus' text format to this file; the next run remembers by it which numbers were seen.",
)
@click.option("--listen", metavar="HOST:PORT", callback=listener, help="With --every: serve /metrics and /healthz.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON; with --every a line a look.")
def watch_status(
    once: bool,
    every: int | None,
    metrics: Path | None,
    listen: tuple[str, int] | None,
    as_json: bool,
    **wanted: Any,
) -> None:
    """Looks at the published CRLs and OCSP answers as a stranger would; needs no secret.

    It follows a certificate's pointers to its issuers, their lists and the responder, and looks at the issuers' other
    lists beside them. Exits 0 when all are fresh, 1 when anything is stale or wrong, 2 for wrong usage.
    """
    if every == 0:
        raise click.UsageError("--every must be a second or more.")
    if once and every:
        raise click.UsageError("Give --once or --every, not both.")
    if listen and not every:
        raise click.UsageError("--listen goes with --every.")
    if wanted["warn"] > wanted["critical"]:
        raise click.UsageError("--warn must not be above --critical.")
    watch = _watch(metrics, **wanted)
    look = _repeatedly(watch, every, metrics, listen, as_json) if every else _once(watch, metrics, as_json)
    if look is None or look.state:
        raise SystemExit(1)


def _once(watch: Watch, metrics: Path | None, as_json: bool) -> Look:
    from remit.watch import report

    look = watch.look()
    _keep(look, metrics)
    if as_json:
        click.echo(json.dumps(report.as_json(look), indent=2))
        return look
    show_table([_row(one, look.at) for one in look.findings], False, COLUMNS)
    for one in look.findings:
        _complain(one)
    return look


def _repeatedly(
    watch: Watch, every: int, metrics: Path | None, listen: tuple[str, int] | None, as_json: bool
) -> Look | None:
    """Looks until a signal says to stop; says what has changed since the look before."""
    from remit.watch import report
    from remit.watch.serve import Board

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    board = Board(timedelta(seconds=every), watch.clock)
    server = _serve(board, listen) if listen else None
    before: dict[tuple[str, str], State] = {}
    while not stop.is_set():
        board.look = watch.look()
        _keep(board.look, metrics)
        if as_json:
            click.echo(json.dumps(report.as_json(board.look)))
        else:
            before = _changes(board.look, before)
        stop.wait(every)
    if server:
        server.shutdown()
    return board.look


def _serve(board: Board, listen: tuple[str, int]) -> ThreadingHTTPServer:
    from remit.failed import Failed
    from remit.watch.serve import serve

    try:
        return serve(board, *listen)
    except OSError as error:
        where = ":".join(map(str, listen))
        raise Failed(f"{where} cannot be listened on ({error.strerror}); name another address by --listen.") from error


def _changes(look: Look, before: dict[tuple[str, str], State]) -> dict[tuple[str, str], State]:
    """A line for each thing whose state is another than before; its sentences when it is not fresh."""
    from remit.watch import report

    for one in look.findings:
        if before.get((one.kind, one.url)) is not one.state:
            click.echo(f"{report.moment(look.at)}  {one.state.name.lower():<8}  {one.kind:<11}  {one.url}")
            _complain(one)
    return {(one.kind, one.url): one.state for one in look.findings}


def _row(finding: Finding, now: datetime) -> dict[str, str | None]:
    """A finding in few words, for a table."""
    end = finding.life.until if finding.life else finding.not_after
    listed = None if finding.number is None else f"number {finding.number}, {finding.entries} revoked"
    return {
        "state": finding.state.name.lower(),
        "kind": finding.kind.value,
        "says": finding.status or listed,
        "left": None if end is None else length(end - now) if end > now else "ended",
        "used": None if finding.used is None else f"{finding.used:.0%}",
        "url": finding.url,
    }


def _complain(finding: Finding) -> None:
    for sentence in finding.sentences:
        click.echo(f"remit: {finding.url} ({finding.kind}): {sentence}", err=True)


def _keep(look: Look, metrics: Path | None) -> None:
    from remit.failed import Failed
    from remit.watch import report

    if metrics is None:
        return
    try:
        report.write(metrics, report.exposition(look))
    except OSError as error:
        raise Failed(f"{metrics} cannot be written ({error.strerror}); name another file with --metrics.") from error


def _watch(metrics: Path | None, warn: int, critical: int, expect: str, **wanted: Any) -> Watch:
    """From what was given, and from the operator's credential where nothing was."""
    from secrets import token_bytes

    from remit.files import CERTIFICATE
    from remit.watch import report
    from remit.watch.fetch import Fetcher
    from remit.watch.finding import Terms
    from remit.watch.look import Subject, Watch

    status, files = wanted["status"], wanted["certificates"]
    if not files and status is None:
        files = (default_credential() / CERTIFICATE,)
    chains = [(file, _certificates(file)) for file in files]
    anchor, roots = _anchor(wanted["root"], wanted["root_fingerprint"])
    return Watch(
        subjects=[Subject(file.resolve().as_uri(), first) for file, (first, *_) in chains],
        service=None if files else status,
        anchor=anchor,
        known=[*(one for _, (_, *issuers) in chains for one in issuers), *roots],
        fetcher=click.get_current_context().with_resource(closing(Fetcher(status))),
        terms=Terms(warn / 100, critical / 100),
        expected=expect,
        clock=clock,
        random=token_bytes,
        seen=report.remembered(metrics) if metrics else {},
    )


def _anchor(root: Path | None, fingerprint: str | None) -> tuple[Anchor, list[x509.Certificate]]:
    from remit.files import ROOT
    from remit.trust import parsed_fingerprint
    from remit.watch.chain import Anchor

    if root is not None and fingerprint is not None:
        raise click.UsageError("Give --root or --root-fingerprint, not both.")
    if fingerprint is not None:
        return Anchor(bytes.fromhex(parsed_fingerprint(fingerprint))), []
    [certificate, *_] = _certificates(root or default_credential() / ROOT)
    return Anchor.of(certificate), [certificate]


def _certificates(file: Path) -> list[x509.Certificate]:
    """The certificates in PEM, or the one in DER, in the file. Raises `Failed`."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from remit.failed import Failed
    from remit.watch.chain import UNREADABLE, read

    try:
        raw = file.read_bytes()
        found = x509.load_pem_x509_certificates(raw) if b"-----BEGIN" in raw else [x509.load_der_x509_certificate(raw)]
        return [read(one.public_bytes(Encoding.DER)) for one in found]
    except OSError as error:
        raise Failed(
            f"{file} cannot be read ({error.strerror}); run 'remit init' here, or name certificates with --certificate "
            "or --status, and the root with --root or --root-fingerprint."
        ) from error
    except UNREADABLE as error:
        raise Failed(f"{file} holds no certificate in PEM or DER that can be read; name another file.") from error


COMMANDS = (watch_status,)
