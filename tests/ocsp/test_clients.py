"""Real clients against the real HTTP server, with a CA in memory behind it: OpenSSL, GnuTLS, nginx, pkilint."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from ca.hsm import KeyKind
from ca.identifiers import Serial
from ca.store.status import Good
from ocsp.request import parse
from tests.ocsp.house import GOOD, NEVER_ISSUED, NONCE, REVOKED, UNFINISHED, House, question
from tests.ocsp.test_request import request, tlv
from tests.world import free_port

# Its base64 has three or four slashes in a row, wherever in the request it stands.
SLASHES = Serial(int.from_bytes(b"\x01" + b"U" * 8 + b"\xff" * 3 + b"U" * 7, "big"))
_HOMEBREW = "/opt/homebrew/opt/openssl@3/bin/openssl"


class LiveHouse(House):
    """A house whose clock is the machine's, served on a port."""

    def __init__(self, directory: Path, **options: bool | KeyKind) -> None:
        super().__init__(**options)  # type: ignore[arg-type] # each option is of its own type
        self.change(SLASHES, Good())
        self.directory = directory
        self.url = f"http://127.0.0.1:{free_port()}"
        self.root_pem = self._write("root.pem", self.root)
        self.issuing_pem = self._write("issuing.pem", self.issuing)
        self.trust_pem = self._write("trust.pem", self.root, self.issuing)

    def clock(self) -> datetime:
        return datetime.fromtimestamp(time.time(), UTC)

    def pem(self, serial: Serial) -> Path:
        """A certificate with this serial, in a file."""
        return self._write(f"{serial}.pem", self.leaf(serial))

    def _write(self, name: str, *certificates: x509.Certificate) -> Path:
        file = self.directory / name
        file.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in certificates))
        return file


def serve(house: LiveHouse) -> Iterator[LiveHouse]:
    port = int(house.url.rpartition(":")[2])
    config = uvicorn.Config(house.app, port=port, http="httptools", ws="none", log_config=None, date_header=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield house
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveHouse]:
    yield from serve(LiveHouse(tmp_path_factory.mktemp("clients")))


def tool(*names: str) -> str:
    for name in names:
        if found := shutil.which(name):
            return found
    pytest.skip(f"{names[-1]} is not on this machine")


def run(*command: str | Path) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=30)
    return done.stdout + done.stderr


def openssl(house: LiveHouse, *arguments: str | Path) -> str:
    chain = ("-CAfile", house.root_pem, "-issuer", house.issuing_pem)
    return run(tool(_HOMEBREW, "openssl"), "ocsp", *chain, *arguments)


# OpenSSL.


@pytest.mark.parametrize("digest", ["-sha1", "-sha256", "-sha384", "-sha512"])
@pytest.mark.parametrize("nonce", ["-nonce", "-no_nonce"])
def test_openssl_by_post(house: LiveHouse, digest: str, nonce: str) -> None:
    words = {GOOD: "good", REVOKED: "revoked", NEVER_ISSUED: "unknown"}
    for serial, word in words.items():
        said = openssl(house, digest, "-cert", house.pem(serial), nonce, "-url", f"{house.url}/ocsp")
        assert "Response verify OK" in said
        assert f"{serial}.pem: {word}" in said
        assert "WARNING" not in said
    assert "Reason: keyCompromise" in openssl(house, "-cert", house.pem(REVOKED), "-url", f"{house.url}/ocsp")


def test_openssl_with_several_certificates(house: LiveHouse) -> None:
    certificates = [part for one in (GOOD, REVOKED, UNFINISHED) for part in ("-cert", house.pem(one))]
    said = openssl(house, *certificates, "-serial", str(NEVER_ISSUED.number), "-url", f"{house.url}/ocsp")
    assert "Response verify OK" in said
    assert re.findall(r": (good|revoked|unknown)", said) == ["good", "revoked", "revoked", "unknown"]


def test_openssl_judges_an_answer_by_get(house: LiveHouse) -> None:
    asked, answered = house.directory / "request.der", house.directory / "answer.der"
    openssl(house, "-cert", house.pem(GOOD), "-no_nonce", "-reqout", asked)
    answered.write_bytes(fetch(f"{house.url}/ocsp/{b64encode(asked.read_bytes()).decode()}"))
    said = openssl(house, "-cert", house.pem(GOOD), "-no_nonce", "-respin", answered)
    assert "Response verify OK" in said
    assert f"{GOOD}.pem: good" in said


@pytest.mark.parametrize("kind", [KeyKind.P384, KeyKind.RSA_2048])
def test_openssl_verifies_other_kinds_of_key(tmp_path: Path, kind: KeyKind) -> None:
    other = LiveHouse(tmp_path, kind=kind)
    answered = tmp_path / "answer.der"
    answered.write_bytes(other.post(question(other.issuing, GOOD)).body)
    said = openssl(other, "-cert", other.pem(GOOD), "-no_nonce", "-respin", answered)
    assert "Response verify OK" in said


# GnuTLS.


@pytest.mark.parametrize("nonce", ["--nonce", "--no-nonce"])
def test_ocsptool(house: LiveHouse, nonce: str) -> None:
    for serial, word in {GOOD: "good", REVOKED: "revoked", NEVER_ISSUED: "unknown"}.items():
        loaded = ("--load-cert", house.pem(serial), "--load-issuer", house.issuing_pem)
        out = house.directory / "ocsptool.der"
        said = run(
            tool("ocsptool"),
            f"--ask={house.url}/ocsp",
            *loaded,
            "--load-trust",
            house.trust_pem,
            nonce,
            "--outder",
            "--outfile",
            out,
        )
        assert "Success" in said, said
        told = run(tool("ocsptool"), "--response-info", "--inder", "--infile", out)
        assert f"Certificate Status: {word}" in told, told


# GET, and what proxies do to it.


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.status == 200
        return bytes(answer.read())


def post(house: LiveHouse, der: bytes) -> bytes:
    asked = urllib.request.Request(f"{house.url}/ocsp", der, {"Content-Type": "application/ocsp-request"})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return bytes(answer.read())


@pytest.fixture
def nginx(house: LiveHouse, tmp_path: Path) -> Iterator[str]:
    """nginx as it comes, in front: it decodes the path, merges slashes and encodes what is left its own way."""
    found, port = tool("nginx", "/usr/sbin/nginx"), free_port()
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(
        f"pid {tmp_path}/pid; error_log {tmp_path}/error.log; daemon off; events {{}}\n"
        + f"http {{ access_log off; server {{ listen 127.0.0.1:{port};"
        + f" location /status/ {{ proxy_pass {house.url}/; }} }}\n"
        + "".join(
            f"{name}_temp_path {tmp_path}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        + "}\n"
    )
    log = tmp_path / "nginx.log"
    with log.open("wb") as output:
        server = subprocess.Popen([found, "-p", tmp_path, "-c", configuration], stdout=output, stderr=output)
    deadline = time.monotonic() + 10
    while True:
        try:
            fetch(f"http://127.0.0.1:{port}/status/healthz")
            break
        except OSError:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
    yield f"http://127.0.0.1:{port}/status"
    server.terminate()
    server.wait(10)


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256()], ids=lambda each: each.name)
def test_behind_nginx_a_mangled_get_gets_the_bytes_of_post(
    house: LiveHouse, nginx: str, algorithm: hashes.HashAlgorithm
) -> None:
    for serial in (GOOD, SLASHES, *(Serial(0x7F0000 + number) for number in range(20))):
        house.shelf.rows["issuing-1", serial] = Good()
        der = question(house.issuing, serial, algorithm)
        text = b64encode(der).decode()
        expected = post(house, der)
        for spelled in (text, text.replace("/", "%2F").replace("+", "%2B").replace("=", "%3D")):
            assert fetch(f"{nginx}/ocsp/{spelled}") == expected
    assert b"///" in b64encode(question(house.issuing, SLASHES, algorithm))


# pkilint.


def lint(file: Path) -> list[str]:
    command = [sys.executable, "-m", "pkilint.bin.lint_ocsp_response", "lint", "-s", "WARNING", "-f", "JSON", str(file)]
    # Its report is what tells findings from a crash: the exit status counts the findings.
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout, done.stderr
    results = json.loads(done.stdout)["results"]
    return [finding["code"] for result in results for finding in result["finding_descriptions"]]


@pytest.mark.parametrize("unissued_is_revoked", [False, True])
def test_pkilint_finds_nothing(tmp_path: Path, unissued_is_revoked: bool) -> None:
    house = LiveHouse(tmp_path, unissued_is_revoked=unissued_is_revoked)
    several = [tlv(0x30, _certid(question(house.issuing, one))) for one in (GOOD, REVOKED, NEVER_ISSUED)]
    asked = [
        question(house.issuing, GOOD),
        question(house.issuing, REVOKED, hashes.SHA256()),
        question(house.issuing, UNFINISHED),
        question(house.issuing, NEVER_ISSUED),
        question(house.issuing, GOOD, nonce=NONCE),
        request(*several),
    ]
    file = tmp_path / "answer.der"
    for der in asked:
        file.write_bytes(house.post(der).body)
        assert lint(file) == []
    # A control: the same bytes with another OID for the nonce extension are found fault with.
    file.write_bytes(house.post(asked[4]).body.replace(b"\x07\x30\x01\x02", b"\x07\x30\x01\x03"))
    assert lint(file) != []


def _certid(der: bytes) -> bytes:
    return parse(der).certificates[0].der


# Bytes that are no HTTP at all, or hostile HTTP.


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /ocsp/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00",
        b"POST /ocsp HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n" + b"0" * 8000,
        b"POST /ocsp HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n",
        b"GET /ocsp/" + b"M" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=lambda sent: repr(sent[:20]),
)
def test_hostile_http_is_answered_below_500_or_cut_off_and_the_next_is_served(house: LiveHouse, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", int(house.url.rpartition(":")[2])), 5) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        try:
            said = connection.recv(200)
        except ConnectionResetError:
            said = b""
    assert said == b"" or 400 <= int(said.split()[1]) < 500
    assert _status(post(house, question(house.issuing, GOOD))) == "GOOD"


def _status(der: bytes) -> str:
    return ocsp.load_der_ocsp_response(der).certificate_status.name


def test_the_worst_requests_cost_little(house: LiveHouse) -> None:
    """Case 32: bombs are refused in milliseconds, and nobody waits behind them."""
    bombs = [
        b"\x30\x82\x0f\xfc" + b"\x06\x82\x0f\xf8" + b"\x81" * 4088,
        b"\x30\x82\x0f\xfc" * 1024,
        b"\x30\x80" * 2048,
        request(*[tlv(0x30)] * 500),
        request(tlv(0x30, tlv(0x30, b"\x02\x82\x0e\x00" + b"\x7f" * 3584))),
    ]
    for bomb in bombs:
        began = time.process_time()
        house.post(bomb)
        assert time.process_time() - began < 0.05
