"""Go: crypto/x509 for the chain and the CRL, golang.org/x/crypto/ocsp for the answers; the program is in go/."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.interop.delays.client import Missing
from tests.interop.delays.go import build


@pytest.fixture(scope="module")
def verify(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return build(tmp_path_factory.mktemp("go"))
    except Missing as missing:
        pytest.skip(str(missing))


def _verdict(verify: Path, run: Any, root: Path, presented: Path) -> tuple[int, dict[str, str]]:
    done = run(verify, root, presented)
    assert not done.stderr, done.stderr
    lines = (line.split(maxsplit=1) for line in done.stdout.splitlines())
    return done.returncode, dict(lines)


def test_go_accepts_the_live_certificate(verify: Path, run: Any, subjects: Any) -> None:
    assert _verdict(verify, run, subjects.root, subjects.live.presented) == (
        0,
        {"chain": "accepted", "crl": "good", "ocsp-sha1": "good", "ocsp-sha256": "good"},
    )


def test_go_refuses_the_revoked_certificate_by_every_source(verify: Path, run: Any, subjects: Any) -> None:
    assert _verdict(verify, run, subjects.root, subjects.revoked.presented) == (
        1,
        {"chain": "accepted", "crl": "revoked", "ocsp-sha1": "revoked", "ocsp-sha256": "revoked"},
    )


def test_go_refuses_the_chain_under_another_root_of_the_same_name(verify: Path, run: Any, subjects: Any) -> None:
    status, answers = _verdict(verify, run, subjects.namesake, subjects.live.presented)
    assert status == 1
    assert answers == {"chain": answers["chain"]}
    assert answers["chain"].startswith("refused: x509: certificate signed by unknown authority")


def test_go_accepts_a_certificate_without_revocation(verify: Path, run: Any, subjects: Any, brief: Any) -> None:
    """RFC 9608 4: what says noRevAvail is not asked about."""
    assert _verdict(verify, run, subjects.root, brief.presented) == (
        0,
        {"chain": "accepted", "revocation": "unavailable"},
    )
