"""CORE. What of a document is sent: all of it, a part, or word that it has not changed (RFC 9110 13, 14)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import NamedTuple

from ocsp.document import Document, Headers

_TAG = re.compile(rb'(?:W/)?("[^"]*")')
_RANGE = re.compile(rb"(?i:bytes)=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*")
_OF_THE_CONTENT = (b"content-type", b"content-length")


class Selected(NamedTuple):
    """A response as ASGI sends it. `body` is the document's own memory, or a view of it: a list may be long."""

    status: HTTPStatus
    headers: Headers
    body: bytes | memoryview


def whole(document: Document, now: datetime) -> Selected:
    """All of it."""
    return Selected(document.status, document.headers(now), document.body)


def unless_held(document: Document, fields: Headers, now: datetime) -> Selected:
    """All of it, unless the client holds these very octets (RFC 9110 13.1.2, 13.1.3)."""
    if document.etag and _is_held(document, fields):
        kept = [header for header in document.headers(now) if header[0] not in _OF_THE_CONTENT]
        return Selected(HTTPStatus.NOT_MODIFIED, kept, b"")
    return whole(document, now)


def in_part(document: Document, fields: Headers, now: datetime) -> Selected:
    """As `unless_held`, or the one range that was asked for (RFC 9110 14.2); several are answered with the whole."""
    selected = unless_held(document, fields, now)
    wanted = _RANGE.fullmatch(_field(fields, b"range"))
    if selected.status is not HTTPStatus.OK or not document.etag or wanted is None or not _is_same(document, fields):
        return selected
    bounds = _bounds(wanted[1], wanted[2], len(document.body))
    if bounds is None:
        return selected
    start, stop = bounds
    kept = [header for header in selected.headers if header[0] != b"content-length"]
    if start >= stop:
        unsatisfied = (b"content-range", b"bytes */%d" % len(document.body))
        kept = [header for header in kept if header[0] != b"content-type"]
        return Selected(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, [*kept, (b"content-length", b"0"), unsatisfied], b""
        )
    part = (b"content-range", b"bytes %d-%d/%d" % (start, stop - 1, len(document.body)))
    length = (b"content-length", b"%d" % (stop - start))
    return Selected(HTTPStatus.PARTIAL_CONTENT, [*kept, length, part], memoryview(document.body)[start:stop])


def _bounds(first: bytes, last: bytes, length: int) -> tuple[int, int] | None:
    """From where to before where: empty if nothing lies there, None if it is no range (RFC 9110 14.1.2)."""
    if not first:
        return (max(0, length - int(last)), length) if last else None
    if not last:
        return int(first), length
    return (int(first), min(int(last) + 1, length)) if int(first) <= int(last) else None


def _is_held(document: Document, fields: Headers) -> bool:
    """By the tag, in the weak comparison (RFC 9110 8.8.3.2); by the date only where no tag is given."""
    tags = _field(fields, b"if-none-match")
    if tags:
        return tags.strip() == b"*" or document.etag in _TAG.findall(tags)
    since = _moment(_field(fields, b"if-modified-since"))
    return since is not None and document.life is not None and document.life.since.replace(microsecond=0) <= since


def _is_same(document: Document, fields: Headers) -> bool:
    """RFC 9110 13.1.5: the strong comparison. A date is none here: a list may change twice within its second."""
    return _field(fields, b"if-range") in (b"", document.etag)


def _field(fields: Iterable[Sequence[bytes]], name: bytes) -> bytes:
    """All that a header's lines say (RFC 9110 5.3)."""
    return b", ".join(value for given, value in fields if given == name)


def _moment(date: bytes) -> datetime | None:
    try:
        moment = parsedate_to_datetime(date.decode("ascii"))
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else None
