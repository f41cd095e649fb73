"""Waits until both services of `remit serve` (its process id is the argument) are ready; exits 1 if they never are."""

import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from ca.config import Settings

_SECONDS = 60


def main() -> int:
    """Exit status 0 when both answer 200 at /readyz."""
    service, settings = int(sys.argv[1]), Settings.load()
    root = Path(settings.home) / "operators" / "admin" / "ca.crt"
    context = ssl.create_default_context(cafile=str(root))
    waiting = [f"https://{settings.listen}/readyz", f"http://{settings.status_listen}/readyz"]
    deadline = time.monotonic() + _SECONDS
    while waiting and time.monotonic() < deadline and _lives(service):
        waiting = [url for url in waiting if not _is_ready(url, context)]
        time.sleep(0.1)
    for url in waiting:
        sys.stderr.write(f"{url} does not answer that it is ready.\n")
    return 1 if waiting else 0


def _is_ready(url: str, context: ssl.SSLContext) -> bool:
    try:
        tls = context if url.startswith("https") else None
        with urllib.request.urlopen(url, context=tls, timeout=2) as answer:  # noqa: S310 (our own URLs)
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
