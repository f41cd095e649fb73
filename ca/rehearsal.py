"""`python -m ca.rehearsal`: an operator's rules, read as the CA would, and tried over requests that were recorded.

`check FILE` names the line and the policy that is wrong. `test FILE` asks the rules about what the audit log says was
asked for, or about a file of JSON lines, each an `Asking`, and says who would have got less than was granted.
It changes nothing, and can run beside the services.

Exit status of `check`: 0 when the file can be used, 1 otherwise. Of `test`, as of `diff`: 0 when nobody would have
got less, 1 when somebody would, 2 when it could not be tried.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ca import assembly
from ca.config import Misconfigured, Settings
from ca.policy.asking import Asking
from ca.policy.rules import Policy, Rules
from ca.policy.trial import DENIED, Change, Outcome, Recorded, Tally, tried
from ca.refusals import Refused
from ca.store import audit, schema
from ca.store.audit import Entry
from ca.store.transaction import Database

_SINCE = timedelta(days=7)


class Untried(Exception):  # noqa: N818 (said to a person as it is)
    """The rules could not be tried: one sentence."""


def of_entry(entry: Entry) -> Recorded:
    """What an audit entry of something that rules were asked recorded. Raises `ValueError` for words unknown today."""
    asking = Asking.from_json(entry.detail["asking"])
    if entry.decision != "granted":
        return Recorded(asking, DENIED)
    left = entry.detail.get("lifetime")
    return Recorded(asking, asking.lifetime if left is None else timedelta(seconds=left))


def of_lines(file: Path) -> Iterator[Recorded]:
    """The requests in a file of JSON lines, as if each had been granted as it stands. Raises `Untried`."""
    try:
        with file.open(encoding="utf-8", errors="surrogateescape") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _of_line(f"{file}, line {number}", line)
    except OSError as error:
        raise Untried(f"{file} cannot be read ({error.strerror}).") from error


def _of_line(at: str, line: str) -> Recorded:
    try:
        asking = Asking.from_json(json.loads(line))
    except (ValueError, RecursionError) as error:
        raise Untried(f"{at}: {error}") from error
    return Recorded(asking, asking.lifetime)


def of_database(settings: Settings, since: datetime) -> Iterator[Recorded]:
    """The requests in the audit log from this moment on, oldest first. Raises `Untried`, `Refused`."""
    # As the ceremony leaves it; without that, looking would make an empty database.
    if not settings.pin_file.is_file():
        raise Untried(f"No authority is in {settings.home}: run 'remit init', or name requests with --requests.")
    try:
        database = Database(settings.database_url)
    except Exception as error:  # whatever is wrong with the URL is said without it
        raise Untried(f"The database cannot be opened ({type(error).__name__}): check the URL.") from error
    try:
        with database.read() as connection:
            if not schema.is_current(connection):
                raise Untried("The database has another schema than this version; run 'remit init' first.")
            yield from _readable(audit.asked(connection, since))
    finally:
        database.close()


def _readable(entries: Iterable[Entry]) -> Iterator[Recorded]:
    for entry in entries:
        # Not in those of operators and servers, nor of what was refused before rules were asked.
        if "asking" not in entry.detail:
            continue
        try:
            yield of_entry(entry)
        except ValueError as error:
            sys.stderr.write(f"remit: the entry of {entry.at:%F %TZ} about {entry.agent} is left out: {error}\n")


def _rules(file: Path) -> Rules:
    """Raises `Untried` with the line and the policy."""
    try:
        return Rules.parse(file.read_text("utf-8"))
    except ValueError as error:
        raise Untried(f"{file}, {error}") from error
    except OSError as error:
        raise Untried(f"{file} cannot be read ({error.strerror}).") from error


def check(file: Path) -> int:
    """Says what stands in the file."""
    try:
        policies = _rules(file).policies
    except Untried as untried:
        sys.stderr.write(f"remit: {untried}\n")
        return 1
    sys.stdout.write("".join(f"line {one.line:<4} {one.name} {_effect(one)}\n" for one in policies))
    sys.stdout.write(f"{file} can be used: {_number(len(policies), 'policy', 'policies')}.\n")
    return 0


def test(arguments: Namespace) -> int:
    """Tries the file, and says who would have got less or more, line by line, and how many."""
    rules = _rules(arguments.file)
    if arguments.requests is None:
        since = assembly.clock() - arguments.since
        requests, where = of_database(Settings.load(), since), f"since {since:%F %TZ}"
    else:
        requests, where = of_lines(arguments.requests), f"in {arguments.requests}"
    tally, changed = Tally(), list[dict[str, Any]]()
    for outcome in tried(rules, requests):
        tally.count(outcome)
        if outcome.change is Change.SAME:
            continue
        if arguments.json:
            changed.append(_json(outcome))
        else:
            sys.stdout.write(_line(outcome))
    counts = {change.value: tally.changes[change] for change in Change}
    if arguments.json:
        whole = {"requests": tally.changes.total(), **counts, "policies": tally.policies, "changes": changed}
        sys.stdout.write(json.dumps(whole, indent=2) + "\n")
    else:
        sys.stdout.write(_summary(tally, where))
    return 1 if tally.takes else 0


def _effect(policy: Policy) -> str:
    return "denies" if policy.longest is None else f"shortens to {_length(policy.longest)}"


def _line(outcome: Outcome) -> str:
    asking, judgement = outcome.recorded.asking, outcome.judgement
    task = f" task {asking.task}" if asking.task else ""
    by = f" by {', '.join(judgement.by)}" if judgement.by else ""
    failed = ", which could not be evaluated" if judgement.failed else ""
    lengths = f"{_length(outcome.recorded.granted)} -> {_length(judgement.lifetime)}"
    who = f"{asking.act} {asking.tenant}/{asking.agent}"
    return f"{asking.now:%F %TZ}  {outcome.change:<9}  {lengths:<12}  {who}{task}{by}{failed}\n"


def _json(outcome: Outcome) -> dict[str, Any]:
    judgement = outcome.judgement
    return {
        "change": outcome.change,
        "granted": outcome.recorded.granted // timedelta(seconds=1),
        "lifetime": judgement.lifetime // timedelta(seconds=1),
        "policies": list(judgement.by),
        "failed": judgement.failed,
        "asking": outcome.recorded.asking.to_json(),
    }


def _summary(tally: Tally, where: str) -> str:
    counts = tally.changes
    if not counts.total():
        return f"No request is recorded {where}: nothing was tried.\n"
    words = (
        f"{_number(counts.total(), 'request', 'requests')} {where}: {counts[Change.DENIED]} would be denied, "
        f"{counts[Change.SHORTENED]} shortened, {counts[Change.MORE]} granted more, {counts[Change.SAME]} the same.\n"
    )
    by = ", ".join(f"{name} {count}" for name, count in tally.policies.most_common())
    return f"{words}By policy: {by}.\n" if by else words


def _number(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _length(lifetime: timedelta) -> str:
    """As @longest has it; a dash for none."""
    seconds = lifetime // timedelta(seconds=1)
    if not seconds:
        return "-"
    unit, size = next(
        (unit, size) for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)) if not seconds % size
    )
    return f"{seconds // size}{unit}"


def _arguments() -> Namespace:
    parser = ArgumentParser(prog="python -m ca.rehearsal")
    acts = parser.add_subparsers(dest="act", required=True)
    acts.add_parser("check").add_argument("file", type=Path)
    trying = acts.add_parser("test")
    trying.add_argument("file", type=Path)
    trying.add_argument("--requests", type=Path)
    trying.add_argument("--since", type=lambda text: timedelta(seconds=int(text)), default=_SINCE, help="seconds")
    trying.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> int:
    """The command."""
    arguments = _arguments()
    if arguments.act == "check":
        return check(arguments.file)
    try:
        return test(arguments)
    except (Untried, Misconfigured, Refused) as error:
        sys.stderr.write(f"remit: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
