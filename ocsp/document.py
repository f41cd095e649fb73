"""What the service sends: bytes with their HTTP headers, and until when they may be kept (RFC 5019 6, RFC 9111)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from hashlib import sha256
from http import HTTPStatus

from cryptography.x509.ocsp import OCSPResponseStatus

from ca.refusals import Reason
from ocsp.answer import refusal

Headers = list[tuple[bytes, bytes]]

OCSP_RESPONSE = "application/ocsp-response"
CRL = "application/pkix-crl"
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
    """One HTTP answer. Without a life nobody may keep it."""

    body: bytes
    media_type: str
    life: Life | None = None
    status: HTTPStatus = HTTPStatus.OK
    extra: tuple[tuple[bytes, bytes], ...] = ()
    etag: bytes = field(init=False, default=b"", compare=False)
    _fixed: Headers = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        length = b"%d" % len(self.body)
        fixed = [(b"content-type", self.media_type.encode()), (b"content-length", length), *self.extra]
        if self.life is None:
            fixed.append((b"cache-control", b"no-store"))
        else:
            object.__setattr__(self, "etag", b'"%s"' % sha256(self.body).hexdigest()[:32].encode())
            fixed += [
                (b"etag", self.etag),
                (b"last-modified", _http_date(self.life.since)),
                (b"expires", _http_date(self.life.until)),
            ]
        object.__setattr__(self, "_fixed", fixed)

    def headers(self, now: datetime) -> Headers:
        """The headers at this moment: max-age never reaches past the end of the document's life.

        The date is of the same clock: Last-Modified must not be after it (RFC 9110 8.8.2.1).
        """
        date = (b"date", _http_date(now))
        if self.life is None:
            return [date, *self._fixed]
        seconds = max(0, int((self.life.until - now).total_seconds()))
        # RFC 5019 6.2: kept until nextUpdate by whoever likes, changed by nobody, never used stale.
        control = b"max-age=%d, public, no-transform, must-revalidate" % seconds
        return [date, *self._fixed, (b"cache-control", control)]


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


def _http_date(moment: datetime) -> bytes:
    return _http_second(moment.replace(microsecond=0))


@lru_cache(maxsize=256)
def _http_second(second: datetime) -> bytes:
    """Thousands of answers leave in a second; its words are the same for all of them."""
    return format_datetime(second.astimezone(UTC), usegmt=True).encode()
