"""The process: alone beside a running authority, with its own login, until it is told to stop."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509 import ocsp

from tests.ocsp.house import NONCE, question
from tests.world import CHECKOUT, World, free_port


def launch(world: World, directory: Path, **settings: str) -> tuple[subprocess.Popen[bytes], Path]:
    """Another status service over the same home."""
    log = directory / "log"
    environment = {**world.environment, "PYTHONPATH": str(CHECKOUT), **settings}
    with log.open("wb") as output:
        command = [sys.executable, "-m", "ocsp.server"]
        return subprocess.Popen(command, env=environment, cwd=directory, stdout=output, stderr=output), log


def ready(url: str) -> Any:
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=2) as answer:
                return json.load(answer)
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(world: World, tmp_path: Path, ending: signal.Signals) -> None:
    address = f"127.0.0.1:{free_port()}"
    server, log = launch(world, tmp_path, REMIT_STATUS_LISTEN=address)
    assert ready(f"http://{address}")["status"] == "ready"
    with urllib.request.urlopen(f"http://{address}/crl/issuing-1.crl", timeout=5) as answer:
        assert answer.headers["Content-Type"] == "application/pkix-crl"
    server.send_signal(ending)
    assert server.wait(20) == 0
    assert log.read_text() == ""


def test_a_token_that_cannot_be_opened_is_one_sentence(world: World, tmp_path: Path) -> None:
    server, log = launch(world, tmp_path, REMIT_PKCS11__PIN_FILE=str(tmp_path / "no-pin"))
    assert server.wait(20) == 1
    assert log.read_text().startswith("remit: The PIN cannot be read")
    assert "Traceback" not in log.read_text()


def test_a_wrong_setting_is_one_sentence(world: World, tmp_path: Path) -> None:
    server, log = launch(world, tmp_path, REMIT_STATUS_LISTENER="x")
    assert server.wait(20) == 1
    assert log.read_text().startswith("remit: ")
    assert "REMIT_STATUS_LISTEN" in log.read_text()


def test_without_a_ceremony_it_waits_and_says_what_for(world: World, tmp_path: Path) -> None:
    """The database is another one, without a CA: alive, not ready, and nothing but "try later" is said."""
    address = f"127.0.0.1:{free_port()}"
    empty = f"sqlite:///{tmp_path / 'empty.db'}"
    server, _ = launch(world, tmp_path, REMIT_STATUS_LISTEN=address, REMIT_DATABASE_URL=empty)
    deadline = time.monotonic() + 20
    while True:
        try:
            urllib.request.urlopen(f"http://{address}/readyz", timeout=2)
        except urllib.error.HTTPError as answer:
            parts = json.load(answer)["parts"]
            break
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert not parts["database"]["ready"]
    assert parts["signer"]["ready"]
    server.send_signal(signal.SIGTERM)
    assert server.wait(20) == 0


def test_alone_with_its_token_pulled_it_gives_what_it_holds_and_recovers(tmp_path: Path) -> None:
    """Nothing runs beside it: neither the authority nor, for a while, the token."""
    world = World(tmp_path).init()
    server, _ = launch(world, tmp_path)
    assert ready(world.status_url)["status"] == "ready"
    leaf, issuing = x509.load_pem_x509_certificates((world.home / "operators" / "admin" / "tls.crt").read_bytes())[:2]
    kept, fresh = question(issuing, leaf.serial_number), question(issuing, leaf.serial_number, nonce=NONCE)
    token, away = world.home / "token", world.home / "away"
    assert _said(world, kept) == _said(world, fresh) == "GOOD"
    token.rename(away)
    assert (_said(world, kept), _said(world, fresh)) == ("GOOD", "TRY_LATER")
    away.rename(token)
    deadline = time.monotonic() + 5
    while _said(world, fresh) != "GOOD":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    server.send_signal(signal.SIGTERM)
    assert server.wait(20) == 0


def _said(world: World, der: bytes) -> str:
    with urllib.request.urlopen(f"{world.status_url}/ocsp", der, timeout=10) as answer:
        read = ocsp.load_der_ocsp_response(answer.read())
    return read.certificate_status.name if read.response_status.value == 0 else read.response_status.name
