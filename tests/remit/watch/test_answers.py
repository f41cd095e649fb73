"""The judge of OCSP answers: each fault has its sentence, and an answer of a stranger is believed in nothing."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from remit.watch.answers import Case, Question, judge
from remit.watch.finding import Finding, Kind, State, Terms
from tests.remit.watch.pki import LIFE, NOW, OCSP_SIGNING, House, party

HOUSE = House()
OTHER = House()
URL = "http://status.example/ocsp"
NONCE = b"n" * 32
ANSWER = HOUSE.answer()
SERIAL = HOUSE.leaf.certificate.serial_number


def look(der: bytes, expected: str = "good", now: datetime = NOW, nonce: bytes | None = None) -> Finding:
    question = Question(SERIAL, HOUSE.issuing.certificate, hashes.SHA1(), nonce)
    return judge(Case(der, Kind.OCSP_GET, URL, question, expected, now), Terms())


def resigned(answer: bytes, other: bytes) -> bytes:
    """The one answer with the signature of the other."""
    while True:
        ours, theirs = (ocsp.load_der_ocsp_response(one).signature for one in (answer, other))
        if len(ours) == len(theirs):
            return answer.replace(ours, theirs)
        other = OTHER.answer()


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256()])
@pytest.mark.parametrize("nonce", [None, NONCE])
def test_the_question_is_the_one_that_the_library_would_ask(
    algorithm: hashes.HashAlgorithm, nonce: bytes | None
) -> None:
    by_library = ocsp.OCSPRequestBuilder().add_certificate(HOUSE.leaf.certificate, HOUSE.issuing.certificate, algorithm)
    if nonce:
        by_library = by_library.add_extension(x509.OCSPNonce(nonce), critical=False)
    question = Question(SERIAL, HOUSE.issuing.certificate, algorithm, nonce)
    assert question.der == by_library.build().public_bytes(Encoding.DER)


@pytest.mark.parametrize("identified", list(ocsp.OCSPResponderEncoding))
def test_an_answer_as_it_should_be_is_fresh(identified: ocsp.OCSPResponderEncoding) -> None:
    finding = look(HOUSE.answer(identified=identified))
    assert (finding.state, finding.sentences, finding.status) == (State.FRESH, (), "good")
    assert finding.not_after == HOUSE.responder.certificate.not_valid_after_utc


@pytest.mark.parametrize(
    ("seconds", "state", "words"),
    [
        (29, State.FRESH, ""),
        (30, State.WARNING, "50% of its life is over"),
        (45, State.CRITICAL, "75% of its life is over"),
        (60, State.CRITICAL, "It ran out at 2026-07-01T12:01:00Z"),
    ],
)
def test_staleness(seconds: int, state: State, words: str) -> None:
    finding = look(HOUSE.answer(), now=NOW + timedelta(seconds=seconds))
    assert finding.state is state
    assert words in " ".join(finding.sentences)


@pytest.mark.parametrize(
    ("status", "expected", "fresh"),
    [
        (ocsp.OCSPCertStatus.REVOKED, "good", False),
        (ocsp.OCSPCertStatus.REVOKED, "revoked", True),
        (ocsp.OCSPCertStatus.GOOD, "revoked", False),
        (ocsp.OCSPCertStatus.UNKNOWN, "good", False),
        (ocsp.OCSPCertStatus.UNKNOWN, "any", True),
    ],
)
def test_the_status_is_what_is_expected(status: ocsp.OCSPCertStatus, expected: str, fresh: bool) -> None:
    finding = look(HOUSE.answer(status=status), expected)
    assert (finding.state is State.FRESH) == fresh
    if not fresh:
        assert f"It says {status.name.lower()} where {expected} is expected" in finding.sentences[0]


@pytest.mark.parametrize("given", [None, b"m" * 32, NONCE[:-1]])
def test_another_nonce_or_none_may_be_an_old_answer(given: bytes | None) -> None:
    assert "nonce" in look(HOUSE.answer(nonce=given), nonce=NONCE).sentences[0]
    assert look(HOUSE.answer(nonce=NONCE), nonce=NONCE).state is State.FRESH


@pytest.mark.parametrize(
    ("der", "words"),
    [
        (b"", "not an OCSP answer"),
        (b"<html>", "not an OCSP answer"),
        (HOUSE.answer()[:-1], "not an OCSP answer"),
        (HOUSE.answer(carries=False), "does not carry the responder's certificate"),
        (resigned(HOUSE.answer(), OTHER.answer()), "Its signature is not by the responder"),
        (HOUSE.answer(responder=OTHER.responder), "not certified by the CA"),
        (HOUSE.answer(responder=HOUSE.leaf), "extendedKeyUsage without OCSPSigning"),
        (HOUSE.answer(responder=HOUSE.issuing), "extendedKeyUsage without OCSPSigning"),
        (
            HOUSE.answer(responder=party("old", HOUSE.issuing, extensions=(OCSP_SIGNING,), ends=NOW - LIFE * 12)),
            "The certificate of CN=old ended at 2026-07-01T00:00:00Z",
        ),
        (HOUSE.answer(about=HOUSE.responder), "another certificate than was asked"),
        (HOUSE.answer(algorithm=hashes.SHA256()), "another certificate than was asked"),
        (ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.UNAUTHORIZED).public_bytes(Encoding.DER),
         "The responder answers unauthorized"),
    ],
)  # fmt: skip
def test_an_answer_that_nobody_should_believe(der: bytes, words: str) -> None:
    finding = look(der)
    assert finding.state is State.CRITICAL
    assert words in " ".join(finding.sentences)
    assert (finding.status, finding.life) == (None, None)


@given(at=st.integers(0, len(ANSWER) - 1), octet=st.integers(0, 255))
def test_one_octet_changed_and_it_says_what_was_signed_or_nothing(at: int, octet: int) -> None:
    finding = look(ANSWER[:at] + bytes([octet]) + ANSWER[at + 1 :])
    assert finding.status == "good" if finding.state is State.FRESH else finding.status is None


def test_an_answer_without_end_or_from_the_future() -> None:
    assert "nextUpdate" in look(HOUSE.answer(ends=False)).sentences[0]
    assert "in the future" in look(HOUSE.answer(begins=NOW + timedelta(minutes=2))).sentences[0]


@pytest.mark.parametrize(("used", "state"), [(0.74, State.FRESH), (0.76, State.WARNING), (0.91, State.CRITICAL)])
def test_the_responder_s_certificate_is_renewed_in_time(used: float, state: State) -> None:
    begins = NOW - timedelta(days=7) * used
    late = party("late", HOUSE.issuing, extensions=(OCSP_SIGNING,), begins=begins, ends=begins + timedelta(days=7))
    finding = look(HOUSE.answer(responder=late))
    assert finding.state is state
    assert all(one.startswith("Of the responder's certificate: ") for one in finding.sentences)


@pytest.mark.parametrize(
    "key",
    [
        ed25519.Ed25519PrivateKey.generate(),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
        mldsa.MLDSA44PrivateKey.generate(),
    ],
)
def test_whatever_key_the_responder_has(key: object) -> None:
    responder = party("other", HOUSE.issuing, key=key, extensions=(OCSP_SIGNING,))
    finding = look(HOUSE.answer(responder=responder))
    assert finding.state is State.FRESH, finding.sentences
