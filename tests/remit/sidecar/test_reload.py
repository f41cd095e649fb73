"""What is done after a new certificate; nginx as the program that is told."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from remit.sidecar.reload import number_of
from tests.remit.sidecar.test_watching import until, watching
from tests.world import World, free_port


@pytest.mark.parametrize(("name", "number"), [("HUP", 1), ("hup", 1), ("SIGTERM", 15), ("sigusr1", 10)])
def test_a_signal_has_many_spellings(name: str, number: int) -> None:
    assert number_of(name) == number


@pytest.mark.parametrize("name", ["", "SIG", "NOTHING", "_IGN", "DFL", "1"])
def test_what_is_no_signal(name: str) -> None:
    with pytest.raises(ValueError, match="is no signal"):
        number_of(name)


def test_nginx_presents_the_new_certificate_once_it_is_told(world: World, tmp_path: Path) -> None:
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
    if program is None:
        pytest.skip("nginx (Debian: nginx-light) is not on this machine; ./deploy/test installs it")
    port, creds, token = free_port(), tmp_path / "creds", tmp_path / "token"
    token.write_text(world.token(world.new_agent()))
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; error_log {tmp_path}/log; daemon off; events {{}}\n"
        f"http {{ access_log off; server {{ listen 127.0.0.1:{port} ssl; return 200; ssl_certificate {creds}/tls.crt;\n"
        f" ssl_certificate_key {creds}/tls.key; }} }}\n"
    )
    with watching(
        world, creds, "--token-file", token, "--watch", "--reload", "HUP", "--pid-file", tmp_path / "pid"
    ) as one:
        first = one.wait_for_files()
        nginx = subprocess.Popen([program, "-p", tmp_path, "-c", tmp_path / "nginx.conf"])
        try:
            until(lambda: presented(port) == first, "nginx presents the first")
            renewed = one.renew()
            until(lambda: presented(port) == renewed, f"nginx presents the second: {one.words()}")
        finally:
            nginx.terminate()
            nginx.wait(10)


def presented(port: int) -> str:
    try:
        pem = ssl.get_server_certificate(("127.0.0.1", port), timeout=5)
    except OSError:
        return ""
    return f"{x509.load_pem_x509_certificate(pem.encode()).serial_number:038x}"
