"""`remit needs-renewal`, with step's exit codes, and the table beneath."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from remit import files
from remit.credential import Credential
from remit.sidecar import due
from tests.world import World


@pytest.fixture(scope="module")
def creds(world: World) -> Path:
    return world.enrol().dir


def leaf(creds: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates((creds / "tls.crt").read_bytes())[0]


@pytest.mark.parametrize(
    ("expires_in", "before_end", "expected"),
    [
        ("5m", timedelta(minutes=5), True),
        ("5m", timedelta(minutes=5, seconds=1), False),
        ("300s", timedelta(minutes=4), True),
        ("1h", timedelta(minutes=14), True),
        ("50%", timedelta(minutes=9), False),
        ("50%", timedelta(minutes=7), True),
        ("0%", timedelta(seconds=1), False),
        ("100%", timedelta(minutes=15), True),
    ],
)
def test_how_much_is_left(creds: Path, expires_in: str, before_end: timedelta, expected: bool) -> None:
    for where in (creds, creds / "tls.crt"):
        assert due.judge(where, expires_in, leaf(creds).not_valid_after_utc - before_end)[0] is expected


def test_without_a_limit_it_is_due_when_the_authority_said(creds: Path, tmp_path: Path) -> None:
    found = files.read(creds)
    assert found is not None
    at = Credential.from_files(found).renew_after
    assert not due.judge(creds, None, at - timedelta(seconds=1))[0]
    assert due.judge(creds, None, at)[0]
    # A file alone knows nothing of that: two thirds of its life.
    copy = tmp_path / "tls.crt"
    copy.write_bytes((creds / "tls.crt").read_bytes())
    begin, end = leaf(creds).not_valid_before_utc, leaf(creds).not_valid_after_utc
    assert due.judge(copy, None, begin + (end - begin) * 0.67)[0]
    assert not due.judge(tmp_path, None, begin + (end - begin) * 0.66)[0]


@pytest.mark.parametrize("limit", ["", "5", "m", "-5m", "101%", "5 m", "%"])
def test_what_is_no_limit(creds: Path, limit: str) -> None:
    with pytest.raises(ValueError, match="neither a duration"):
        due.judge(creds, limit, leaf(creds).not_valid_before_utc)


def test_the_command_exits_as_step_does(world: World, creds: Path, tmp_path: Path) -> None:
    fresh = world.cli("needs-renewal", creds)
    assert (fresh.returncode, fresh.stderr[:6]) == (1, "Due at")
    assert world.cli("needs-renewal", creds, "--expires-in", "1h").returncode == 0
    assert world.cli("needs-renewal", creds / "tls.crt", "--expires-in", "1s").returncode == 1
    none = world.cli("needs-renewal", tmp_path / "none")
    assert (none.returncode, none.stderr) == (2, f"remit: There is no certificate at {tmp_path / 'none'}.\n")
    assert world.cli("needs-renewal", tmp_path).returncode == 2
    (tmp_path / "odd").write_text("odd")
    for wrong in ((tmp_path / "odd",), (creds, "--expires-in", "soon")):
        done = world.cli("needs-renewal", *wrong)
        assert done.returncode == 255
        assert done.stderr.count("\n") == 1
