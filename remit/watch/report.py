"""What a look found, as JSON and as Prometheus' text format; and what an earlier run left of it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import Any

from remit.watch.finding import Finding
from remit.watch.lists import Seen
from remit.watch.look import Look

_NEWEST = "remit_watch_crl_newest_number"
_REMEMBERED = re.compile(_NEWEST + r'\{url="([^"\\\n]+)"\} (\d+)')

_SERIES: tuple[tuple[str, str, Callable[[Finding], float | None]], ...] = (
    ("state", "0 fresh, 1 warning, 2 critical.", lambda one: int(one.state)),
    (
        "this_update_timestamp_seconds",
        "When it began to hold.",
        lambda one: _seconds(one.life.since if one.life else None),
    ),
    (
        "next_update_timestamp_seconds",
        "Until when it holds.",
        lambda one: _seconds(one.life.until if one.life else None),
    ),
    ("life_used_ratio", "The share of its life that is over.", lambda one: one.used),
    ("crl_number", "The number of the list that is served.", lambda one: one.number),
    ("crl_entries", "How many certificates the list revokes.", lambda one: one.entries),
    (
        "not_after_timestamp_seconds",
        "When the certificate ends; an answer's responder's.",
        lambda one: _seconds(one.not_after),
    ),
)


def as_json(look: Look) -> dict[str, Any]:
    """For programs: times in RFC 3339, states in words."""
    return {
        "state": look.state.name.lower(),
        "looked_at": moment(look.at),
        "findings": [row(one) for one in look.findings],
    }


def row(finding: Finding) -> dict[str, Any]:
    """One finding; what does not apply is None."""
    return {
        "kind": finding.kind.value,
        "url": finding.url,
        "state": finding.state.name.lower(),
        "this_update": moment(finding.life.since) if finding.life else None,
        "next_update": moment(finding.life.until) if finding.life else None,
        "used": round(finding.used, 3) if finding.used is not None else None,
        "number": finding.number,
        "entries": finding.entries,
        "status": finding.status,
        "not_after": moment(finding.not_after) if finding.not_after else None,
        "sentences": list(finding.sentences),
    }


def moment(time: datetime) -> str:
    """RFC 3339, whole seconds, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def exposition(look: Look) -> str:
    """Prometheus' text format 0.0.4: one series a kind and URL, and when the look was."""
    return "\n".join((*_lines(look), ""))


def _lines(look: Look) -> Iterator[str]:
    for name, text, value in _SERIES:
        yield from _head(name, text)
        for one in look.findings:
            if (number := value(one)) is not None:
                labels = f'kind="{one.kind}",url="{_escaped(one.url)}"'
                yield f"remit_watch_{name}{{{labels}}} {_number(number)}"
    yield from _head("crl_newest_number", "The highest number that was ever seen at the URL.")
    for url, newest in look.newest.items():
        yield f'{_NEWEST}{{url="{_escaped(url)}"}} {newest}'
    yield from _head("last_look_timestamp_seconds", "When the last look began.")
    yield f"remit_watch_last_look_timestamp_seconds {_number(look.at.timestamp())}"


def remembered(file: Path) -> dict[str, Seen]:
    """The highest numbers that an earlier run wrote to its metrics, so that a run from cron sees one go back."""
    try:
        return {url: Seen(int(number)) for url, number in _REMEMBERED.findall(file.read_text(errors="replace"))}
    except FileNotFoundError:
        return {}


def write(file: Path, text: str) -> None:
    """Puts the text in place by one rename, readable by all: whoever collects it never sees half. Raises `OSError`."""
    draft = file.with_name(f".{file.name}.{token_hex(4)}")
    try:
        with draft.open("x") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        draft.chmod(0o644)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def _head(name: str, text: str) -> Iterator[str]:
    yield f"# HELP remit_watch_{name} {text}"
    yield f"# TYPE remit_watch_{name} gauge"


def _seconds(time: datetime | None) -> float | None:
    return time.timestamp() if time else None


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6f}".rstrip("0").rstrip(".")


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
