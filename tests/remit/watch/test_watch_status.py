"""`remit watch-status` against a real authority, and one whose answers are changed on the way (cases 17, 18)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from remit.cli import remit
from remit.watch.fetch import LONGEST_ANSWER
from tests.world import World, free_port

PATIENCE_SECONDS = 30
FULL, SHARD, ROOT = "/crl/issuing-1.crl", "/crl/issuing-1/1.crl", "/crl/root-1.crl"
DELTA = "/crl/issuing-1/delta.crl"
SHARDS = {f"/crl/issuing-1/{number}.crl" for number in range(1, 17)}

Change = Callable[[str, str, int, bytes], tuple[int, bytes]]
"""From method, path, status and body of an answer to what is served instead."""


class Liar:
    """Serves what the status service serves, but for what `change` does to it."""

    def __init__(self, truth: str) -> None:
        self.change: Change = lambda _method, _path, status, body: (status, body)
        liar = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._serve("GET", None)

            def do_POST(self) -> None:
                self._serve("POST", self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, *_: object) -> None:
                pass

            def _serve(self, method: str, body: bytes | None) -> None:
                headers = {"Content-Type": "application/ocsp-request"} if body else {}
                request = urllib.request.Request(truth + self.path, body, headers, method=method)
                try:
                    with urllib.request.urlopen(request, timeout=10) as answer:
                        status, told = answer.status, answer.read()
                except urllib.error.HTTPError as error:
                    status, told = error.code, error.read()
                status, told = liar.change(method, self.path, status, told)
                self.send_response(status)
                self.send_header("Content-Length", str(len(told)))
                if 300 <= status < 400:
                    self.send_header("Location", truth + self.path)
                self.end_headers()
                self.wfile.write(told)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def instead(self, path: str, body: bytes, status: int = 200) -> None:
        """Serves this at the path."""
        self.change = lambda _method, asked, was, told: (status, body) if asked == path else (was, told)


@pytest.fixture
def liar(world: World) -> Iterator[Liar]:
    made = Liar(world.status_url)
    yield made
    made.stop()


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        body: bytes = answer.read()
        return body


def look(world: World, *arguments: str | Path) -> tuple[int, dict[str, dict[str, Any]]]:
    """In this process. Exit status, and the findings by the path of their URL, an answer's with its kind."""
    command = ["watch-status", "--json", *map(str, arguments)]
    done = CliRunner().invoke(remit, command, env=world.environment)
    assert isinstance(done.exception, SystemExit | None), done.exception
    said = json.loads(done.stdout)
    assert (done.exit_code == 0) == (said["state"] == "fresh")
    return done.exit_code, {
        one["kind"] if one["kind"].startswith("ocsp") else one["url"].removeprefix(world.status_url): one
        for one in said["findings"]
    }


def faults(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: " ".join(one["sentences"]) for name, one in found.items() if one["state"] != "fresh"}


# All is well.


def test_on_the_authority_s_own_machine_it_just_works(world: World) -> None:
    code, found = look(world)
    assert (code, faults(found)) == (0, {})
    own = (world.home / "operators" / "admin" / "tls.crt").as_uri()
    always = {own, "/ca/issuing-1.cer", "/ca/root-1.cer", FULL, ROOT, *SHARDS, "ocsp-get", "ocsp-post"}
    assert always <= found.keys() <= always | {DELTA}, "a delta is there once something was published after the first"
    assert found["ocsp-post"]["status"] == "good"
    done = world.cli("watch-status")
    assert done.returncode == 0
    assert done.stdout.count("fresh") == len(found)
    assert done.stderr == ""


def test_a_stranger_needs_the_url_and_the_fingerprint_alone(world: World, tmp_path: Path) -> None:
    stranger = World(tmp_path)
    done = stranger.cli("watch-status", "--status", world.status_url, "--root-fingerprint", world.root_fingerprint)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in (FULL, SHARD, ROOT, "ocsp-get", "ocsp-post"))
    assert "unknown" in done.stdout, "of a serial that was never issued"


def test_an_agent_s_certificate_good_and_then_revoked(world: World) -> None:
    enrolled = world.enrol()
    assert look(world, "--certificate", enrolled.cert)[0] == 0
    world.json("revoke", enrolled.serial)
    code, found = look(world, "--certificate", enrolled.cert)
    assert code == 1
    assert "It says revoked where good is expected" in faults(found)["ocsp-get"]
    code, found = look(world, "--certificate", enrolled.cert, "--expect", "revoked")
    assert (code, faults(found)) == (0, {})


def test_the_terms_can_be_changed(world: World) -> None:
    code, found = look(world, "--warn", "1", "--critical", "100")
    assert code in (0, 1)
    assert {one["state"] for one in found.values()} <= {"fresh", "warning"}


# Something is wrong.


def test_another_root_than_the_trusted_one(world: World) -> None:
    done = world.cli("watch-status", "--status", world.status_url, "--root-fingerprint", "ab" * 32)
    assert done.returncode == 1
    assert "another root than the trusted one" in done.stderr
    assert "/crl/" not in done.stdout, "nothing is judged by certificates that are not trusted"


@pytest.mark.parametrize(
    ("path", "how", "words"),
    [
        (FULL, lambda url: fetch(url + ROOT), "another issuer's list"),
        (FULL, lambda url: fetch(url + FULL)[:-1], "not a CRL in DER"),
        (FULL, lambda url: _flipped(fetch(url + FULL)), "not by its issuer's key"),
        (FULL, lambda url: fetch(url + SHARD), "NSS refuses"),
        (SHARD, lambda url: fetch(url + FULL), "names no distribution point"),
        (FULL, lambda _: b"<html>welcome</html>", "not a CRL in DER"),
        ("/ca/issuing-1.cer", lambda url: fetch(url + "/ca/root-1.cer"), "It did not sign the certificate of"),
        ("/ca/issuing-1.cer", lambda _: b"x", "no certificate in DER"),
        ("/ca/root-1.cer", lambda url: fetch(url + "/ca/issuing-1.cer"), "It did not sign the certificate of"),
        ("/ca/root-1.cer", lambda _: bytes(LONGEST_ANSWER + 1), "longer than 65,536 octets"),
    ],
)
def test_what_was_changed_on_the_way_is_named(
    world: World, liar: Liar, path: str, how: Callable[[str], bytes], words: str
) -> None:
    """Case 17, from outside."""
    liar.instead(path, how(world.status_url))
    code, found = look(world, "--status", liar.url, "--certificate", world.home / "operators" / "admin" / "tls.crt")
    assert code == 1
    assert [*faults(found)] == [path], "that alone"
    assert words in faults(found)[path]


@pytest.mark.parametrize(
    ("status", "words"), [(302, "status 302"), (404, "nothing at this URL"), (503, "503"), (599, "status 599")]
)
def test_what_is_not_served_is_named(world: World, liar: Liar, status: int, words: str) -> None:
    liar.instead(FULL, fetch(world.status_url + FULL), status)
    code, found = look(world, "--status", liar.url)
    assert (code, [*faults(found)]) == (1, [FULL])
    assert words in faults(found)[FULL]


@pytest.mark.parametrize(
    ("method", "kind", "body", "words"),
    [
        ("GET", "ocsp-get", b"welcome", "not an OCSP answer in DER"),
        ("GET", "ocsp-get", b"\x30\x03\x0a\x01\x06", "answers unauthorized"),
        ("POST", "ocsp-post", None, "nonce"),
    ],
)
def test_an_answer_that_was_changed_or_is_replayed(
    world: World, liar: Liar, method: str, kind: str, body: bytes | None, words: str
) -> None:
    kept: list[bytes] = []

    def change(asked: str, path: str, status: int, told: bytes) -> tuple[int, bytes]:
        if asked != method or not path.startswith("/ocsp"):
            return status, told
        kept.append(told)
        return 200, kept[0] if body is None else body

    liar.change = change
    if body is None:
        assert look(world, "--status", liar.url)[0] == 0, "the first answer is true, and is kept"
    code, found = look(world, "--status", liar.url)
    assert (code, [*faults(found)]) == (1, [kind])
    assert words in faults(found)[kind]


def test_an_older_list_is_noticed_even_from_cron(world: World, liar: Liar, tmp_path: Path) -> None:
    """The metrics of the run before say which numbers were seen."""
    metrics = tmp_path / "remit.prom"
    older = fetch(world.status_url + FULL)
    world.json("crl", "publish")
    arguments = ("--status", liar.url, "--metrics", metrics)
    assert look(world, *arguments)[0] == 0
    liar.instead(FULL, older)
    for _ in range(2):
        code, found = look(world, *arguments)
        assert (code, [*faults(found)]) == (1, [FULL])
        assert "Its number went back from" in faults(found)[FULL]
    assert look(world, "--status", liar.url)[0] == 0, "who remembers nothing cannot know"
    liar.instead(SHARD, b"", 404)
    assert "nothing at this URL" in faults(look(world, *arguments)[1])[SHARD], "nor that a list is gone"


def test_metrics_are_in_the_format_and_readable_by_the_collector(world: World, tmp_path: Path) -> None:
    file = tmp_path / "remit.prom"
    _, found = look(world, "--metrics", file)
    families = {one.name: one.samples for one in text_string_to_metric_families(file.read_text())}
    assert {(sample.labels["kind"], sample.value) for sample in families["remit_watch_state"]} == {
        (one["kind"], 0) for one in found.values()
    }
    numbers = {sample.labels["url"]: sample.value for sample in families["remit_watch_crl_number"]}
    assert numbers[world.status_url + FULL] == found[FULL]["number"]
    assert file.stat().st_mode & 0o777 == 0o644
    assert [*tmp_path.iterdir()] == [file], "no draft is left"


# Going on.


def test_a_watchman_that_goes_on_serves_metrics_and_health(world: World, liar: Liar) -> None:
    port = free_port()
    command = ("watch-status", "--status", liar.url, "--every", "1s", "--listen", f"127.0.0.1:{port}")
    watchman = subprocess.Popen(
        [sys.executable, "-c", "from remit.cli import main; main()", *command],
        env=world.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _until(lambda: _health(port) == (200, "fresh"))
        metrics = fetch(f"http://127.0.0.1:{port}/metrics").decode()
        assert "remit_watch_last_look_timestamp_seconds" in metrics
        assert _health(port, "/nothing")[0] == 404
        liar.instead(FULL, b"", 404)
        _until(lambda: _health(port) == (503, "critical"))
        liar.change = lambda _method, _path, status, body: (status, body)
        _until(lambda: _health(port) == (200, "fresh"))
    finally:
        watchman.send_signal(signal.SIGTERM)
        said, complained = watchman.communicate(timeout=PATIENCE_SECONDS)
    assert watchman.returncode == 0, "the last look found all fresh"
    about_the_list = [line for line in said.splitlines() if line.endswith(FULL)]
    assert [line.split()[1] for line in about_the_list] == ["fresh", "critical", "fresh"], "changes alone are told"
    assert complained.count("nothing at this URL") == 1


@pytest.mark.slow
def test_a_status_service_that_is_down_and_a_ca_that_is(tmp_path: Path) -> None:
    """Case 18: the generator is dead, and then nobody answers at all."""
    world = World(tmp_path, REMIT_STATUS__CRL_LIFETIME="10s").init().start()
    try:
        world.json("crl", "publish")
        assert look(world, "--warn", "100", "--critical", "100")[0] == 0
        authority, status = world.service_ids()
        os.kill(authority, signal.SIGTERM)
        # They were published one after the other, and so they age.
        _until(lambda: {FULL, SHARD, ROOT} <= faults(look(world)[1]).keys())
        code, found = look(world)
        assert code == 1
        assert "remit crl publish" in faults(found)[FULL]
        _until(lambda: "503" in faults(look(world)[1])[FULL])
        os.kill(status, signal.SIGTERM)
        _until(lambda: "cannot be reached" in faults(look(world)[1]).get(FULL, ""))
        stopped = faults(look(world)[1])
        own_shard = stopped.keys() & SHARDS
        assert len(own_shard) == 1, "how many shards there are only the service can say"
        assert {"/ca/issuing-1.cer", FULL, ROOT, "ocsp-get", "ocsp-post"} <= stopped.keys()
        assert all("remit serve" in sentence for sentence in stopped.values())
    finally:
        world.stop()


# Wrong usage.


@pytest.mark.parametrize(
    "arguments",
    [
        ("--once", "--every", "30s"),
        ("--listen", "127.0.0.1:0"),
        ("--every", "30s", "--listen", "9464"),
        ("--every", "soon"),
        ("--every", "0s"),
        ("--warn", "80", "--critical", "70"),
        ("--expect", "fine"),
        ("--certificate", "/nowhere"),
        ("--root", __file__, "--root-fingerprint", "ab" * 32),
    ],
)
def test_wrong_usage_exits_2(world: World, arguments: tuple[str, ...]) -> None:
    assert world.cli("watch-status", *arguments).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--certificate", __file__), "holds no certificate"),
        (("--root-fingerprint", "ab"), "64 hexadecimal digits"),
        (("--metrics", "/nowhere/remit.prom"), "/nowhere/remit.prom cannot be written (No such file or directory)"),
        (("--every", "1s", "--listen", "203.0.113.1:1"), "203.0.113.1:1 cannot be listened on"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_sentence(world: World, arguments: tuple[str, ...], words: str) -> None:
    done = world.cli("watch-status", *arguments)
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_a_credential_it_says_what_to_name(tmp_path: Path) -> None:
    done = World(tmp_path).cli("watch-status")
    assert done.returncode == 1
    assert "name certificates with --certificate or --status" in done.stderr


def _flipped(der: bytes) -> bytes:
    return der[:-1] + bytes([der[-1] ^ 1])


def _health(port: int, path: str = "/healthz") -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, json.load(answer)["state"]
    except urllib.error.HTTPError as error:
        told = error.read()
        return error.code, json.loads(told)["state"] if told.startswith(b"{") else ""
    except urllib.error.URLError:
        return 0, "not there yet"


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)
