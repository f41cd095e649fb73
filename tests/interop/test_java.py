"""Java: PKIX path validation with revocation checking, once by OCSP alone and once by CRLs alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("Verify.java")
# The JDK follows CRL distribution points only when it is told to.
SOURCES = {"ocsp": (), "crl": ("-Dcom.sun.security.enableCRLDP=true",), "soft": ()}
EACH_SOURCE = pytest.mark.parametrize("source", ["ocsp", "crl"])


def _verdict(java: str, run: Any, source: str, root: Path, presented: Path) -> tuple[int, str]:
    done = run(java, *SOURCES[source], PROGRAM, source, root, presented)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout.strip()


@EACH_SOURCE
def test_java_accepts_the_live_certificate(java: str, run: Any, subjects: Any, source: str) -> None:
    assert _verdict(java, run, source, subjects.root, subjects.live.presented) == (0, "accepted")


@EACH_SOURCE
def test_java_refuses_the_revoked_certificate_for_its_reason(java: str, run: Any, subjects: Any, source: str) -> None:
    status, words = _verdict(java, run, source, subjects.root, subjects.revoked.presented)
    assert status == 1
    assert words.startswith("refused REVOKED: ")
    assert "KEY_COMPROMISE" in words


@EACH_SOURCE
def test_java_refuses_the_chain_under_another_root_of_the_same_name(
    java: str, run: Any, subjects: Any, source: str
) -> None:
    status, words = _verdict(java, run, source, subjects.namesake, subjects.live.presented)
    assert status == 1
    assert words.startswith(("refused NO_TRUST_ANCHOR: ", "refused INVALID_SIGNATURE: "))


def test_java_accepts_a_certificate_without_revocation_where_status_may_be_unknown(
    java: str, run: Any, subjects: Any, brief: Any
) -> None:
    """The JDK knows nothing of RFC 9608: what must have a status is refused, what may lack one passes."""
    assert _verdict(java, run, "soft", subjects.root, brief.presented) == (0, "accepted")
    assert _verdict(java, run, "crl", subjects.root, brief.presented)[0] == 1
