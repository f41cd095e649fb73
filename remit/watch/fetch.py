"""Bytes from a stranger's URL: bounded in size and time, no redirects, no credential, no proxy of the environment."""

from __future__ import annotations

import time
from http import HTTPStatus
from urllib.parse import urlsplit

import httpx2

LONGEST_LIST = 100 * 2**20
LONGEST_ANSWER = 64 * 2**10
"""Octets: of a list, and of an OCSP answer or a certificate."""

_PATIENCE_SECONDS = 5.0
_WHOLE_SECONDS = 60.0
_HEADERS = {"User-Agent": "remit-watch-status", "Accept-Encoding": "identity"}


class Unanswered(Exception):  # noqa: N818 (said to a person as it is)
    """Nothing that could be judged came: one sentence, and the HTTP status when that much came."""

    def __init__(self, sentence: str, status: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status

    @property
    def is_absent(self) -> bool:
        """Whether the server says that there is nothing at the URL."""
        return self.status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)


class Fetcher:
    """Asks URLs as they stand, or all at the `origin` given (`http://host:port`) instead of their own."""

    def __init__(self, origin: str | None = None) -> None:
        self._origin = origin.rstrip("/") if origin else None
        self._http = httpx2.Client(
            timeout=_PATIENCE_SECONDS,
            trust_env=False,
            headers=_HEADERS,
            # Connections last for one look: one that the server is about to close would be a false alarm.
            limits=httpx2.Limits(keepalive_expiry=1.0),
        )

    def close(self) -> None:
        """Ends the connections."""
        self._http.close()

    def get(self, url: str, limit: int) -> bytes:
        """At most `limit` octets. Raises `Unanswered`."""
        return self._exchange("GET", url, limit, {}, None)

    def post(self, url: str, body: bytes, media_type: str, limit: int) -> bytes:
        """At most `limit` octets. Raises `Unanswered`."""
        return self._exchange("POST", url, limit, {"Content-Type": media_type}, body)

    def _exchange(self, method: str, url: str, limit: int, headers: dict[str, str], body: bytes | None) -> bytes:
        deadline = time.monotonic() + _WHOLE_SECONDS
        try:
            with self._http.stream(method, self._asked(url), headers=headers, content=body) as answer:
                if answer.status_code != HTTPStatus.OK:
                    raise _refused(answer)
                received = bytearray()
                for piece in answer.iter_raw():
                    received += piece
                    if len(received) > limit:
                        raise Unanswered(f"It is longer than {limit:,} octets and was not read; see what serves it.")
                    if time.monotonic() > deadline:
                        raise Unanswered(f"It did not arrive within {_WHOLE_SECONDS:.0f} s; see to the network.")
                return bytes(received)
        except httpx2.TimeoutException as error:
            raise Unanswered(
                "It did not answer in time; see that 'remit serve' runs there and is not overloaded."
            ) from error
        except httpx2.ConnectError as error:
            raise Unanswered("It cannot be reached; see that 'remit serve' runs there.") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            raise Unanswered(
                f"It gave no usable answer ({error or type(error).__name__}); see what serves it."
            ) from error

    def _asked(self, url: str) -> str:
        if self._origin is None:
            return url
        parts = urlsplit(url)
        return self._origin + parts.path + (f"?{parts.query}" if parts.query else "")


def _refused(answer: httpx2.Response) -> Unanswered:
    status = answer.status_code
    sentences: dict[int, str] = {
        HTTPStatus.NOT_FOUND: "There is nothing at this URL (404); see that the CA published it.",
        HTTPStatus.SERVICE_UNAVAILABLE: "It is not available (503): it ran out, or the database is away; "
        "see 'remit doctor'.",
    }
    other = f"It answers with HTTP status {status}, and only 200 will do; see what serves this URL."
    return Unanswered(sentences.get(status, other), status)
