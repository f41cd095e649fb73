"""GnuTLS: certtool with the CRLs of both levels, ocsptool with and without a nonce."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

INSTALL = "GnuTLS's tools (Debian: gnutls-bin, Homebrew: gnutls)"
NONCE = pytest.mark.parametrize("nonce", [(), ("--nonce",)], ids=["plain", "nonce"])


@pytest.fixture(scope="module")
def certtool(find_tool: Any, run: Any) -> str:
    # macOS ships another program of the name certtool; Homebrew renames GnuTLS's.
    path = str(find_tool("gnutls-certtool", "certtool", install=INSTALL))
    if "--load-ca-certificate" not in run(path, "--help").stdout:
        pytest.skip(f"{path} is not GnuTLS's certtool; install {INSTALL}")
    return path


@pytest.fixture(scope="module")
def ocsptool(find_tool: Any) -> str:
    return str(find_tool("ocsptool", install=INSTALL))


def _verify(certtool: str, run: Any, subjects: Any, presented: Path, root: Path | None = None) -> tuple[int, str]:
    done = run(
        certtool,
        "--verify",
        "--verify-profile=medium",
        "--load-ca-certificate",
        root or subjects.root,
        "--load-crl",
        # GnuTLS looks into one list of an issuer, and not at what that list says it covers.
        subjects.full_crls,
        "--infile",
        presented,
    )
    return done.returncode, done.stdout + done.stderr


def _ask(ocsptool: str, run: Any, subjects: Any, leaf: Path, *options: str) -> str:
    done = run(
        ocsptool,
        f"--ask={subjects.live.ocsp_url}",
        "--load-cert",
        leaf,
        "--load-issuer",
        subjects.issuing,
        # GnuTLS builds no chain from the delegated responder to the root: it is told the issuing CA too.
        "--load-trust",
        subjects.trust,
        *options,
    )
    return str(done.stdout + done.stderr)


def test_certtool_accepts_the_live_certificate(certtool: str, run: Any, subjects: Any) -> None:
    status, words = _verify(certtool, run, subjects, subjects.live.presented)
    assert status == 0, words
    assert "Chain verification output: Verified. The certificate is trusted." in words


def test_certtool_refuses_the_revoked_certificate(certtool: str, run: Any, subjects: Any) -> None:
    status, words = _verify(certtool, run, subjects, subjects.revoked.presented)
    assert status != 0
    assert "NOT trusted. The certificate chain is revoked." in words


def test_certtool_refuses_the_chain_under_another_root_of_the_same_name(certtool: str, run: Any, subjects: Any) -> None:
    status, words = _verify(certtool, run, subjects, subjects.live.presented, root=subjects.namesake)
    assert status != 0
    assert "NOT trusted." in words


@NONCE
def test_ocsptool_finds_the_live_certificate_good(
    ocsptool: str, run: Any, subjects: Any, nonce: tuple[str, ...]
) -> None:
    words = _ask(ocsptool, run, subjects, subjects.live.leaf, *nonce)
    assert "Certificate Status: good" in words
    assert "Verifying OCSP Response: Success." in words


@NONCE
def test_ocsptool_finds_the_revoked_certificate_revoked(
    ocsptool: str, run: Any, subjects: Any, nonce: tuple[str, ...]
) -> None:
    words = _ask(ocsptool, run, subjects, subjects.revoked.leaf, *nonce)
    assert "Certificate Status: revoked" in words
    assert "Verifying OCSP Response: Success." in words


def test_certtool_accepts_a_certificate_without_revocation(certtool: str, run: Any, subjects: Any, brief: Any) -> None:
    status, words = _verify(certtool, run, subjects, brief.presented)
    assert status == 0, words
