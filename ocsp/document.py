"""What the service sends: bytes with their HTTP headers, and until when they may be kept (RFC 5019 6, RFC 9111)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache
from hashlib import sha256
from http import HTTPStatus

from cryptography.x509.ocsp import OCSPResponseStatus

from ca.refusals import Reason
from ocsp.answer import refusal

Headers = Sequence[tuple[bytes, bytes]]

_SECOND = timedelta(seconds=1)
_NEVER = datetime.min.replace(tzinfo=UTC)

OCSP_RESPONSE = "application/ocsp-response"
CRL = "application/pkix-crl"
PEM = "application/x-pem-file"
CERTIFICATE = "application/pkix-cert"


@dataclass(frozen=True, slots=True)
class Life:
    """From when the bytes are true and until when, UTC. No cache may keep them any longer."""

    since: datetime
    until: datetime

    def holds(self, now: datetime) -> bool:
        """Whether `now` lies within. Before it, our clock was set back: then nothing is certain."""
        return self.since <= now < self.until


@dataclass(frozen=True, slots=True)
class Document:
    """One HTTP answer. Without a life nobody may keep it; `freshness` is for how long at most, if not for its life."""

    body: bytes
    media_type: str
    life: Life | None = None
    freshness: timedelta | None = None
    status: HTTPStatus = HTTPStatus.OK
    extra: Headers = ()
    etag: bytes = field(init=False, default=b"", compare=False)
    _fixed: Headers = field(init=False, repr=False, compare=False)
    _made: tuple[datetime, datetime, Headers] = field(
        init=False, repr=False, compare=False, default=(_NEVER, _NEVER, ())
    )
    _written: tuple[Headers, bytes] = field(init=False, repr=False, compare=False, default=((), b""))

    def __post_init__(self) -> None:
        length = b"%d" % len(self.body)
        fixed = [(b"content-type", self.media_type.encode()), (b"content-length", length), *self.extra]
        if self.life is None:
            fixed.append((b"cache-control", b"no-store"))
        else:
            object.__setattr__(self, "etag", b'"%s"' % sha256(self.body).hexdigest()[:32].encode())
            fixed += [
                (b"etag", self.etag),
                (b"last-modified", http_date(self.life.since.replace(microsecond=0))),
            ]
        object.__setattr__(self, "_fixed", fixed)

    def headers(self, now: datetime) -> Headers:
        """The headers at this moment: nobody is told to keep it past the end of its life.

        The date is of the same clock: Last-Modified must not be after it (RFC 9110 8.8.2.1).
        """
        since, until, headers = self._made
        if not since <= now < until:
            # A document is sent thousands of times in a second.
            until, headers = self._headers(now)
            object.__setattr__(self, "_made", (now, until, headers))
        return headers

    def response(self, now: datetime) -> bytes:
        """The whole of it as HTTP/1.1 writes it (RFC 9112 2.1)."""
        headers = self.headers(now)
        made_of, response = self._written
        if made_of is not headers:
            lines = b"".join(b"%b: %b\r\n" % header for header in headers)
            status = b"HTTP/1.1 %d %b\r\n" % (self.status, self.status.phrase.encode())
            response = status + lines + b"\r\n" + self.body
            object.__setattr__(self, "_written", (headers, response))
        return response

    def _headers(self, now: datetime) -> tuple[datetime, Headers]:
        """And until when they are as true."""
        second = now.replace(microsecond=0)
        date = (b"date", http_date(second))
        if self.life is None:
            return second + _SECOND, [date, *self._fixed]
        end = self.life.until if self.freshness is None else min(self.life.until, now + self.freshness)
        left = max(0, (end - now) // _SECOND)
        # RFC 5019 6.2: kept until nextUpdate by whoever likes, changed by nobody, never used stale.
        control = b"max-age=%d, public, no-transform, must-revalidate" % left
        headers = [date, *self._fixed, (b"expires", http_date(end.replace(microsecond=0))), (b"cache-control", control)]
        return min(second + _SECOND, self.life.until - left * _SECOND), headers


def problem(status: HTTPStatus, reason: Reason, detail: str, *extra: tuple[bytes, bytes]) -> Document:
    """An answer in words (RFC 9457), where no OCSP answer is expected."""
    body = {"type": f"urn:remit:problem:{reason}", "title": status.phrase, "status": status.value, "detail": detail}
    return Document(json.dumps(body).encode(), "application/problem+json", status=status, extra=extra)


def away(detail: str) -> Document:
    """503 with the time after which to ask again."""
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, Reason.UNAVAILABLE, detail, (b"retry-after", b"1"))


# RFC 6960 A.1: these too are answers of the protocol, so HTTP says that all went well.
MALFORMED = Document(refusal(OCSPResponseStatus.MALFORMED_REQUEST), OCSP_RESPONSE)
INTERNAL_ERROR = Document(refusal(OCSPResponseStatus.INTERNAL_ERROR), OCSP_RESPONSE)
TRY_LATER = Document(refusal(OCSPResponseStatus.TRY_LATER), OCSP_RESPONSE)
UNAUTHORIZED = Document(refusal(OCSPResponseStatus.UNAUTHORIZED), OCSP_RESPONSE)
"""RFC 5019 2.2.3: this responder cannot answer for that issuer."""

TOO_LARGE = Document(
    MALFORMED.body,
    OCSP_RESPONSE,
    status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    # What else the client wants to send is not waited for.
    extra=((b"connection", b"close"),),
)


@lru_cache(maxsize=256)
def http_date(second: datetime) -> bytes:
    """A moment as HTTP writes it, to the second (RFC 9110 5.6.7)."""
    return format_datetime(second.astimezone(UTC), usegmt=True).encode()
