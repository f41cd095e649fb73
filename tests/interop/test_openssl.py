"""OpenSSL: chain, purpose, CRLs of both levels, and OCSP by POST with either digest in the CertID."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

OCSP_PATIENCE_SECONDS = 10.0
NEVER_ISSUED = "0x0102030405060708090a0b0c0d0e0f10111213"
DIGESTS = pytest.mark.parametrize("digest", ["-sha1", "-sha256"])


def _verify(
    openssl: str, run: Any, subjects: Any, leaf: Path, *options: str | Path, root: Path | None = None
) -> tuple[int, str]:
    chain = ("-x509_strict", "-CAfile", root or subjects.root, "-untrusted", subjects.issuing)
    done = run(openssl, "verify", *chain, *options, leaf)
    return done.returncode, done.stdout + done.stderr


def _ask(openssl: str, run: Any, subjects: Any, *question: str | Path) -> str:
    url = subjects.live.ocsp_url
    # Its exit status is 0 for a revoked certificate: only the words count.
    done = run(openssl, "ocsp", "-CAfile", subjects.root, "-issuer", subjects.issuing, "-url", url, *question)
    return str(done.stdout + done.stderr)


def test_verify_accepts_the_live_certificate_for_tls_clients(openssl: str, run: Any, subjects: Any) -> None:
    options = ("-crl_check", "-CRLfile", subjects.issuing_crl, "-purpose", "sslclient")
    assert _verify(openssl, run, subjects, subjects.live.leaf, *options) == (0, f"{subjects.live.leaf}: OK\n")


def test_verify_refuses_the_revoked_certificate(openssl: str, run: Any, subjects: Any) -> None:
    options = ("-crl_check", "-CRLfile", subjects.issuing_crl, "-purpose", "sslclient")
    status, words = _verify(openssl, run, subjects, subjects.revoked.leaf, *options)
    assert status != 0
    assert "error 23 at 0 depth lookup: certificate revoked" in words


def test_verify_with_the_crls_of_every_level_accepts_one_and_refuses_the_other(
    openssl: str, run: Any, subjects: Any
) -> None:
    options = ("-crl_check_all", "-CRLfile", subjects.crls, "-purpose", "sslclient")
    assert _verify(openssl, run, subjects, subjects.live.leaf, *options)[0] == 0
    status, words = _verify(openssl, run, subjects, subjects.revoked.leaf, *options)
    assert status != 0
    assert "certificate revoked" in words


def test_an_agent_cannot_pose_as_a_tls_server(openssl: str, run: Any, subjects: Any) -> None:
    status, words = _verify(openssl, run, subjects, subjects.live.leaf, "-purpose", "sslserver")
    assert status != 0
    assert "unsuitable certificate purpose" in words or "unsupported certificate purpose" in words


def test_verify_refuses_the_chain_under_another_root_of_the_same_name(openssl: str, run: Any, subjects: Any) -> None:
    status, words = _verify(openssl, run, subjects, subjects.live.leaf, root=subjects.namesake)
    assert status != 0
    assert "verification failed" in words


@DIGESTS
def test_ocsp_says_good_of_the_live_certificate(openssl: str, run: Any, subjects: Any, digest: str) -> None:
    words = _ask(openssl, run, subjects, digest, "-cert", subjects.live.leaf)
    assert "Response verify OK" in words
    assert f"{subjects.live.leaf}: good" in words


@DIGESTS
def test_ocsp_says_revoked_with_the_reason(openssl: str, run: Any, subjects: Any, digest: str) -> None:
    words = _ask(openssl, run, subjects, digest, "-cert", subjects.revoked.leaf)
    assert "Response verify OK" in words
    assert f"{subjects.revoked.leaf}: revoked" in words
    assert "Reason: keyCompromise" in words


@DIGESTS
def test_ocsp_never_says_good_of_a_serial_that_was_not_issued(
    openssl: str, run: Any, subjects: Any, digest: str
) -> None:
    words = _ask(openssl, run, subjects, digest, "-serial", NEVER_ISSUED)
    assert "Response verify OK" in words
    assert f"{NEVER_ISSUED}: unknown" in words or f"{NEVER_ISSUED}: revoked" in words
    assert ": good" not in words


def test_the_nonce_of_the_question_is_in_the_answer(openssl: str, run: Any, subjects: Any) -> None:
    words = _ask(openssl, run, subjects, "-nonce", "-cert", subjects.live.leaf)
    assert "Response verify OK" in words
    assert "Nonce Verify error" not in words
    assert "no nonce in response" not in words


def test_verify_accepts_a_certificate_without_revocation(openssl: str, run: Any, subjects: Any, brief: Any) -> None:
    """RFC 9608: it names no list; who has the full one may look into it all the same."""
    for options in ((), ("-crl_check_all", "-CRLfile", subjects.full_crls)):
        done = _verify(openssl, run, subjects, brief.leaf, *options, "-purpose", "sslclient")
        assert done == (0, f"{brief.leaf}: OK\n")


def test_ocsp_says_revoked_of_a_certificate_without_revocation(
    openssl: str, run: Any, subjects: Any, brief: Any, world: Any
) -> None:
    """It promises relying parties nothing; who asks is told the truth."""
    assert f"{brief.leaf}: good" in _ask(openssl, run, subjects, "-cert", brief.leaf)
    done = world.cli("revoke", f"{brief.certificate.serial_number:038x}", "--reason", "keyCompromise")
    assert done.returncode == 0, done.stdout + done.stderr
    deadline = time.monotonic() + OCSP_PATIENCE_SECONDS
    while f"{brief.leaf}: revoked" not in (words := _ask(openssl, run, subjects, "-cert", brief.leaf)):
        assert time.monotonic() < deadline, words
