"""`remit enroll --once`, `--watch` and `--exec` as a user runs them: real processes against a real authority."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.world import World, free_port

PATIENCE = 30.0
CHECKOUT = Path(__file__).parents[3]


def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


class Watching:
    """A running `remit enroll`, and what it said."""

    def __init__(self, world: World, directory: Path, *options: str | Path, **environment: str) -> None:
        self.world, self.directory = world, directory
        self.said = directory.parent / f"{directory.name}.said"
        self.out = directory.parent / f"{directory.name}.out"
        command = [
            *(sys.executable, "-c", "from remit.cli import main; main()", "enroll"),
            *("--ca", world.api_url, "--root-fingerprint", world.root_fingerprint, "--dir", directory),
            *options,
        ]
        with self.said.open("wb") as said, self.out.open("wb") as out:
            self.process = subprocess.Popen(
                command, env=world.environment | environment, cwd=world.directory, stdout=out, stderr=said
            )

    def serial(self) -> str:
        """Of the certificate in place."""
        found = x509.load_pem_x509_certificates((self.directory / "tls.crt").read_bytes())[0]
        return f"{found.serial_number:038x}"

    def words(self) -> str:
        return self.said.read_text()

    def wait_for(self, words: str) -> None:
        until(lambda: words in self.words(), f"{words} in: {self.words()}")

    def wait_for_files(self) -> str:
        until((self.directory / "tls.crt").exists, "the first certificate")
        self.wait_for(" until ")
        return self.serial()

    def renew(self) -> str:
        """Has it renewed now; the new serial."""
        before = self.serial()
        self.process.send_signal(signal.SIGHUP)
        until(lambda: self.serial() != before, self.words())
        return self.serial()

    def ended(self) -> int:
        return self.process.wait(PATIENCE)


@contextmanager
def watching(world: World, directory: Path, *options: str | Path, **environment: str) -> Iterator[Watching]:
    made = Watching(world, directory, *options, **environment)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.process.kill()
            made.process.wait()


@pytest.fixture
def token(world: World, tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(world.token(world.new_agent()))
    return file


def run_once(world: World, directory: Path, *options: str | Path) -> subprocess.CompletedProcess[str]:
    asked = ("--ca", world.api_url, "--root-fingerprint", world.root_fingerprint, "--dir", directory, *options)
    return world.cli("enroll", *asked)


def test_once_keeps_what_is_live_and_spends_no_token(world: World, tmp_path: Path, token: Path) -> None:
    first = run_once(world, tmp_path / "creds", "--token-file", token, "--once")
    assert first.returncode == 0, first.stderr
    again = run_once(world, tmp_path / "creds", "--once")
    assert (again.returncode, again.stdout) == (0, first.stdout), again.stderr
    without = run_once(world, tmp_path / "other", "--once")
    assert without.returncode == 1
    assert "no proof of identity" in without.stderr


def test_it_goes_on_and_its_files_change_together(world: World, tmp_path: Path, token: Path) -> None:
    """Whoever opens the directory's version sees one key with its certificate, at any moment."""
    with watching(world, tmp_path / "creds", "--token-file", token, "--watch") as one:
        first = one.wait_for_files()
        for _ in range(3):
            one.renew()
            checked = subprocess.run(
                [sys.executable, "-c", PAIR, tmp_path / "creds"], capture_output=True, text=True, check=False
            )
            assert checked.returncode == 0, checked.stderr
        assert first != one.serial()
        assert (tmp_path / "creds" / "tls.key").stat().st_mode & 0o777 == 0o600
        one.process.terminate()
        begun = time.monotonic()
        assert one.ended() == 0
        assert time.monotonic() - begun < 5
        assert "the certificate stays" in one.words()
    assert world.json("cert", "show", one.serial())["state"] == "live"


PAIR = """
import ssl, sys
from pathlib import Path
version = (Path(sys.argv[1]) / "..data").resolve()
ssl.create_default_context(cafile=version / "ca.crt").load_cert_chain(version / "tls.crt", version / "tls.key")
"""


def test_after_a_kill_it_goes_on_with_what_is_there(world: World, tmp_path: Path, token: Path) -> None:
    with watching(world, tmp_path / "creds", "--token-file", token, "--watch") as one:
        serial = one.wait_for_files()
        one.process.kill()
        one.ended()
    with watching(world, tmp_path / "creds", "--token-file", token, "--watch") as two:
        two.wait_for(f"{serial} until")
        two.renew()


def test_two_do_not_keep_one_directory(world: World, tmp_path: Path, token: Path) -> None:
    with watching(world, tmp_path / "creds", "--token-file", token, "--watch") as one:
        one.wait_for_files()
        other = run_once(world, tmp_path / "creds", "--watch")
        assert other.returncode == 1
        assert "Another 'remit enroll --watch' keeps" in other.stderr


def test_a_token_that_opens_nothing_ends_it(world: World, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("remit_et_" + "A" * 43)
    with watching(world, tmp_path / "creds", "--token-file", file, "--watch") as one:
        assert one.ended() == 1
        assert "not accepted" in one.words()
        assert not (tmp_path / "creds" / "tls.crt").exists()


PROGRAM = """
import os, signal, sys, time
there, secret = os.path.exists(sys.argv[1] + "/tls.crt"), "REMIT_ENROLLMENT_TOKEN" in os.environ
print("started", os.getpid(), there, secret, flush=True)
signal.signal(signal.SIGUSR1, lambda *_: print("usr1", flush=True))
signal.signal(signal.SIGHUP, lambda *_: print("hup", flush=True))
def end(*_):
    print("term", flush=True); sys.exit(7)
signal.signal(signal.SIGTERM, end)
while True: time.sleep(0.05)
"""


@pytest.fixture
def program(tmp_path: Path) -> str:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    return f"{sys.executable} {file} {tmp_path / 'creds'}"


def test_a_program_starts_with_credentials_and_without_the_token(world: World, tmp_path: Path, program: str) -> None:
    secret = world.token(world.new_agent())
    with watching(world, tmp_path / "creds", "--exec", program, REMIT_ENROLLMENT_TOKEN=secret) as one:
        until(lambda: "started" in one.out.read_text(), one.words())
        assert one.out.read_text().split()[2:4] == ["True", "False"]
        one.process.send_signal(signal.SIGUSR1)
        until(lambda: "usr1" in one.out.read_text(), "signals are passed on")
        one.process.terminate()
        assert one.ended() == 7, "its status is the program's"
        assert "term" in one.out.read_text()
    assert secret not in one.words()


@pytest.mark.slow
def test_a_program_is_told_of_renewals_that_come_by_themselves(
    world: World, tmp_path: Path, token: Path, program: str
) -> None:
    """A certificate of a minute is renewed after ten seconds, because the old one is to overlap."""
    options = ("--token-file", token, "--not-after", "62s", "--exec", program, "--reload", "HUP")
    with watching(world, tmp_path / "creds", *options) as one:
        until(lambda: "hup" in one.out.read_text(), one.words())
        assert one.words().count(" until ") == 2


@pytest.mark.slow
def test_a_program_that_reads_its_files_once_is_started_anew(
    world: World, tmp_path: Path, token: Path, program: str
) -> None:
    options = ("--token-file", token, "--not-after", "62s", "--exec", program, "--reload", "restart")
    with watching(world, tmp_path / "creds", *options) as one:
        until(lambda: one.out.read_text().count("started") == 2, one.words())
        assert one.out.read_text().count("term") == 1
        assert one.process.poll() is None, "that end was not the end"


@pytest.mark.parametrize(("program", "status"), [("true", 0), ("false", 1), ("sh -c 'kill -9 $$'", 137)])
def test_it_ends_with_its_program(world: World, tmp_path: Path, token: Path, program: str, status: int) -> None:
    with watching(world, tmp_path / "creds", "--token-file", token, "--exec", program) as one:
        assert one.ended() == status, one.words()


def test_a_program_that_is_not_there_is_named(world: World, tmp_path: Path, token: Path) -> None:
    with watching(world, tmp_path / "creds", "--token-file", token, "--exec", "no-such-program") as one:
        assert one.ended() == 1
        assert "no-such-program" in one.words()
        assert "Traceback" not in one.words()


def test_it_is_told_of_each_new_certificate(world: World, tmp_path: Path, token: Path) -> None:
    """By a signal to the process of a file, as nginx has one, and by a command that finds the files."""
    listener = subprocess.Popen([sys.executable, "-c", LISTENER, tmp_path / "heard"])
    until((tmp_path / "heard").exists, "the listener is there")
    (tmp_path / "pid").write_text(f"{listener.pid}\n")
    copy = f"sh -c 'cp \"$REMIT_DIR\"/tls.crt {tmp_path}/copy'"
    options = ("--reload", "SIGHUP", "--pid-file", tmp_path / "pid", "--on-renew", copy)
    try:
        with watching(world, tmp_path / "creds", "--token-file", token, "--watch", *options) as one:
            one.wait_for_files()
            one.renew()
            until(lambda: (tmp_path / "heard").read_text().count("hup") >= 2, "each new one, the first too")
            until((tmp_path / "copy").exists, "the command ran")
            until(
                lambda: (tmp_path / "copy").read_bytes() == (tmp_path / "creds" / "tls.crt").read_bytes(), one.words()
            )
            (tmp_path / "pid").write_text("no number")
            one.renew()
            one.wait_for("after a new certificate failed")
    finally:
        listener.kill()
        listener.wait()


LISTENER = """
import signal, sys, time
file = open(sys.argv[1], "a", buffering=1)
signal.signal(signal.SIGHUP, lambda *_: file.write("hup\\n"))
while True: time.sleep(0.05)
"""


def ready(port: int, path: str = "/ready") -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def test_probes_and_what_a_refusal_changes(world: World, tmp_path: Path) -> None:
    """Revoked: not ready any more; it goes on, because a hold may be released, or ends where that was asked for."""
    agent, port, file = world.new_agent(), free_port(), tmp_path / "token"
    file.write_text(world.token(agent))
    options = ("--token-file", file, "--watch", "--listen", f"127.0.0.1:{port}")
    with watching(world, tmp_path / "creds", *options) as one:
        until(lambda: ready(port)[0] == 200, "it is ready")
        assert ready(port)[1].startswith("fresh: until ")
        assert ready(port, "/live") == (200, "It goes on.\n")
        assert ready(port, "/else")[0] == 404
        assert world.cli("hold", one.serial()).returncode == 0
        one.process.send_signal(signal.SIGHUP)
        until(lambda: ready(port)[0] == 503, "it is refused")
        assert ready(port)[1].startswith("refused: ")
        assert ready(port, "/live")[0] == 200
        assert world.cli("release", one.serial()).returncode == 0
        one.renew()
        until(lambda: ready(port)[0] == 200, "it is ready again")
        assert world.cli("revoke", "--agent", agent).returncode == 0
    with watching(world, tmp_path / "creds", "--watch", "--stop-when-refused") as two:
        two.wait_for(" until ")
        two.process.send_signal(signal.SIGHUP)
        assert two.ended() == 1
        assert "refused: " in two.words()


def test_what_means_nothing_together_is_refused(world: World, tmp_path: Path) -> None:
    for options in (
        ("--once", "--watch"),
        ("--reload", "HUP"),
        ("--watch", "--reload", "HUP"),
        ("--watch", "--reload", "restart", "--pid-file", "x"),
        ("--exec", "sleep 1", "--reload", "NOTHING"),
        ("--exec", "'"),
        ("--exec", ""),
        ("--watch", "--listen", "nowhere"),
    ):
        done = run_once(world, tmp_path / "creds", *options)
        assert done.returncode == 2, (options, done.stderr)
        assert not (tmp_path / "creds").exists()


def test_a_port_that_is_taken_is_named(world: World, tmp_path: Path, token: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        done = run_once(world, tmp_path / "creds", "--token-file", token, "--watch", "--listen", f"127.0.0.1:{port}")
    assert done.returncode == 1
    assert str(port) in done.stderr
    assert os.path.exists(token)
