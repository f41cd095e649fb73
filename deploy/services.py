"""What `deploy/up` asks about the services: `prepare` before they start, `ready PID` until they are."""

import os
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request

from ca.config import Misconfigured, Settings
from ca.sections import split_listener

_SECONDS = 60


def prepare(settings: Settings) -> int:
    """Prints the home; exit status 1 when somebody else listens where a service is to."""
    for name, listener in (("REMIT_LISTEN", settings.listen), ("REMIT_STATUS_LISTEN", settings.status_listen)):
        error = _fault_of(listener)
        if error is not None:
            sys.stderr.write(
                f"remit: {listener} cannot be listened at ({error}); is Remit running already?\n"
                f"       If so, stop it first; if not, set {name} to another address.\n"
            )
            return 1
    sys.stdout.write(f"{settings.home}\n")
    return 0


def ready(settings: Settings, service: int) -> int:
    """Waits until both answer 200 at /readyz, as long as `remit serve` lives; says where they are."""
    context = ssl.create_default_context(cafile=str(settings.home / "operators" / "admin" / "ca.crt"))
    # The listener may be 0.0.0.0, which is nobody's name; the chain to our own root is checked.
    context.check_hostname = False
    services = {f"https://{settings.listen}": context, f"http://{settings.status_listen}": None}
    waiting = list(services)
    deadline = time.monotonic() + _SECONDS
    while waiting and time.monotonic() < deadline and _lives(service):
        waiting = [url for url in waiting if not _is_ready(url, services[url])]
        time.sleep(0.1)
    for url in waiting:
        sys.stderr.write(f"remit: {url}/readyz does not answer that it is ready.\n")
    if not waiting:
        sys.stdout.write("The API is ready at {}, the status service at {}.\n".format(*services))
    return 1 if waiting else 0


def _fault_of(listener: str) -> str | None:
    host, port = split_listener(listener)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error.strerror or str(error)
    return None


def _is_ready(url: str, context: ssl.SSLContext | None) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", context=context, timeout=2) as answer:  # noqa: S310 (our own)
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def main(command: str, *arguments: str) -> int:
    """The exit status of `prepare` or `ready PID`."""
    try:
        settings = Settings.load()
    except Misconfigured as error:
        sys.stderr.write(f"remit: {error}\n")
        return 1
    return prepare(settings) if command == "prepare" else ready(settings, int(arguments[0]))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
