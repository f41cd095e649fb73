"""HTTP to the authority: trust by its root alone, answers as JSON, refusals as one sentence."""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from typing import Any, Self

import httpx2

from remit.failed import Failed
from remit.files import CERTIFICATE, KEY, ROOT

_TIMEOUT_SECONDS = 30.0
_LONGEST_PAUSE = 5.0


class Client:
    """A connection to one authority. `wait` is for how many seconds a busy or absent one is tried again."""

    def __init__(self, url: str, context: ssl.SSLContext, *, wait: float = 0.0) -> None:
        self._url = url.rstrip("/")
        self._wait = wait
        if not _is_https(self._url):
            # The root is public: over plain HTTP its fingerprint would prove nothing of who takes the token.
            raise Failed(f"{self._url} is no https URL: nothing is sent to an authority in the clear.", status=400)
        self._http = httpx2.Client(base_url=self._url, verify=context, timeout=_TIMEOUT_SECONDS, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    @classmethod
    def with_credential(cls, url: str, directory: Path, *, wait: float = 0.0) -> Client:
        """Presents the credential in `directory`. Raises `Failed` when it cannot be read."""
        try:
            context = ssl.create_default_context(cafile=str(directory / ROOT))
            context.load_cert_chain(directory / CERTIFICATE, directory / KEY)
        except (OSError, ssl.SSLError) as error:
            raise Failed(
                f"There is no usable credential in {directory} ({error.strerror or error}); "
                "run 'remit init' here, or name one with --credential."
            ) from error
        return cls(url, context, wait=wait)

    def call(self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any) -> Any:
        """The answer's JSON. `json` and `params` as in httpx2; None values are left out.

        Raises `Failed`.
        """
        for name in ("json", "params"):
            if options.get(name) is not None:
                options[name] = {key: value for key, value in options[name].items() if value is not None}
        answer = self._patiently(method, path, headers or {}, options)
        if answer.is_success:
            return answer.json()
        raise _failure(answer)

    def fetch(self, path: str) -> bytes:
        """The answer's bytes. Raises `Failed`."""
        answer = self._patiently("GET", path, {}, {})
        if answer.is_success:
            return answer.content
        raise _failure(answer)

    def pages(self, path: str, params: dict[str, Any], limit: int) -> list[Any]:
        """Up to `limit` items of a list, page by page."""
        items: list[Any] = []
        cursor: str | None = None
        while len(items) < limit:
            asked = {**params, "cursor": cursor, "limit": min(limit - len(items), 1000)}
            page = self.call("GET", path, params=asked)
            items += page["items"]
            cursor = page["next"]
            if cursor is None:
                break
        return items

    def _patiently(self, method: str, path: str, headers: dict[str, str], options: dict[str, Any]) -> httpx2.Response:
        """Tries again after 503 (as Retry-After says) and after refused connections, until `wait` is over."""
        deadline = time.monotonic() + self._wait
        pause = 0.2
        while True:
            try:
                answer = self._http.request(method, path, headers=headers, **options)
            except httpx2.ConnectError as error:
                if time.monotonic() + pause > deadline:
                    raise Failed(_connection_sentence(self._url, error)) from error
            except httpx2.HTTPError as error:
                raise Failed(f"{self._url} did not answer: {error or type(error).__name__}.") from error
            else:
                if answer.status_code != 503 or time.monotonic() + pause > deadline:
                    return answer
                pause = max(pause, _retry_after(answer) or 0.0)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def _connection_sentence(url: str, error: Exception) -> str:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"{url} presents a certificate of another authority than the one trusted here."
    if "alert" in text.lower():
        return f"{url} refused the client certificate: it may have expired; 'remit init' renews the admin's."
    return f"{url} cannot be reached; is 'remit serve' running there?"


def _retry_after(answer: httpx2.Response) -> float | None:
    """Seconds; a date, which nobody here sends, counts as nothing."""
    try:
        return max(0.0, float(answer.headers["retry-after"]))
    except (KeyError, ValueError):
        return None


def _failure(answer: httpx2.Response) -> Failed:
    about: dict[str, Any] = {"status": answer.status_code, "retry_after": _retry_after(answer)}
    try:
        problem = answer.json()
        return Failed(str(problem["detail"]), str(problem["type"]), **about)
    except (ValueError, KeyError, TypeError):
        return Failed(f"The authority answered {answer.status_code} without saying why.", **about)


def _is_https(url: str) -> bool:
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL:
        return False
    return parsed.scheme == "https" and bool(parsed.host) and not parsed.userinfo
