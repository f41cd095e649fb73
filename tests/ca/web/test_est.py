"""EST in this process: in what forms it is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ca.web import est
from tests.ca.authority.stage import AGENT, TASK, TENANT, Stage
from tests.ca.web.est_client import (
    DER,
    KEY,
    LINE,
    PKCS10,
    ask,
    basic,
    certificates,
    enrol,
    new_token,
    renew,
)
from tests.world import key_and_csr

# What anybody may ask.


def test_the_trust_anchor_and_the_issuing_ca_are_told(stage: Stage) -> None:
    told = certificates(ask(stage, "GET", est.CACERTS))
    assert set(told) == {stage.root.certificate, stage.issuer.certificate}


def test_nothing_is_asked_of_a_request_but_a_key(stage: Stage) -> None:
    answer = ask(stage, "GET", est.CSRATTRS)
    assert (answer.status_code, answer.content) == (204, b"")


# The first certificate.


def test_a_token_and_a_request_get_the_certificate_and_no_other(stage: Stage) -> None:
    answer = enrol(stage, basic("", new_token(stage)))
    (leaf,), (record,) = certificates(answer), stage.issued()
    assert leaf.public_bytes(Encoding.DER) == record.der
    assert leaf.public_key() == KEY.public_key()
    assert answer.headers["cache-control"] == "no-store"
    assert not answer.content.endswith(b"\n"), "some clients take what follows the base64 for more of it"


def lines(width: int, end: bytes) -> bytes:
    return b"".join(LINE[start : start + width] + end for start in range(0, len(LINE), width))


def armoured(end: bytes) -> bytes:
    label = b"CERTIFICATE REQUEST-----"
    return b"-----BEGIN " + label + end + lines(64, end) + b"-----END " + label + end


FORMS = {
    "one line": LINE,
    "one line and its end": LINE + b"\n",
    "64 columns": lines(64, b"\n"),
    "64 columns, CRLF": lines(64, b"\r\n"),
    "76 columns, CRLF (RFC 2045)": lines(76, b"\r\n"),
    "lone CR": lines(64, b"\r"),
    "spaces and tabs": lines(10, b" \t"),
    "white space around": b"\r\n \t" + LINE + b"\t \r\n",
    "PEM": armoured(b"\n"),
    "PEM, CRLF": armoured(b"\r\n"),
    "DER": DER,
}


@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS)
def test_a_request_is_read_in_every_form_that_clients_send(stage: Stage, content: bytes) -> None:
    (leaf,) = certificates(enrol(stage, basic("", new_token(stage)), content))
    assert leaf.public_key() == KEY.public_key()


@pytest.mark.parametrize("encoding", [None, "base64", "BASE64", "binary", "8bit", "quoted-printable", "x"])
def test_a_content_transfer_encoding_is_ignored(stage: Stage, encoding: str | None) -> None:
    """RFC 8951 3."""
    answer = enrol(stage, basic("", new_token(stage)), Content_Transfer_Encoding=encoding)
    assert len(certificates(answer)) == 1


SHOWN: dict[str, Callable[[str], str]] = {
    "bearer": lambda token: f"Bearer {token}",
    "bearer in other letters": lambda token: f"bEARER {token}",
    "a password without a name": lambda token: basic("", token),
    "a password of the agent": lambda token: basic(AGENT, token),
    "basic in other letters": lambda token: basic(AGENT, token).replace("Basic", "BASIC"),
}


@pytest.mark.parametrize("shown", SHOWN.values(), ids=SHOWN)
def test_a_token_is_taken_from_a_bearer_or_as_a_password(stage: Stage, shown: Callable[[str], str]) -> None:
    assert len(certificates(enrol(stage, shown(new_token(stage))))) == 1


def test_a_request_may_repeat_the_identity_of_the_agent(stage: Stage) -> None:
    """RFC 7030 4.2.2 asks it of renewals, and many clients send a subject always."""
    _, named = key_and_csr(f"CN={AGENT},OU={TENANT},O=Remit")
    assert len(certificates(enrol(stage, basic(AGENT, new_token(stage)), named))) == 1


def test_a_lost_answer_is_given_again_for_the_same_key(stage: Stage) -> None:
    shown = basic(AGENT, new_token(stage))
    assert certificates(enrol(stage, shown)) == certificates(enrol(stage, shown))
    assert len(stage.issued()) == 1


def test_a_live_certificate_enrols_its_agent_too(stage: Stage) -> None:
    """RFC 7030 3.3.2; the new one has its own life and key, and the same task."""
    answer = ask(stage, "POST", est.SIMPLEENROLL, LINE, stage.enrolled(), Content_Type=PKCS10)
    assert [leaf.public_key() for leaf in certificates(answer)] == [KEY.public_key()]
    assert {record.intent.task for record in stage.issued()} == {TASK}


# The next certificate.


@pytest.mark.parametrize("names", [None, f"CN={AGENT},OU={TENANT},O=Remit"], ids=["without names", "with its own"])
def test_a_live_certificate_is_followed_by_the_same_for_another_key(stage: Stage, names: str | None) -> None:
    first = stage.enrolled()
    key, csr = key_and_csr(names)
    answer = renew(stage, first, csr)
    (leaf,) = certificates(answer)
    before = x509.load_der_x509_certificate(first.der)
    assert (leaf.subject, leaf.public_key()) == (before.subject, key.public_key())
    assert names_of(leaf) == names_of(before)
    assert answer.headers["cache-control"] == "no-store"
    assert [record.intent.task for record in stage.issued()] == [TASK, TASK]


def test_a_certificate_is_followed_by_one_for_the_same_key(stage: Stage) -> None:
    first = stage.enrol(stage.token(), KEY)
    assert [leaf.public_key() for leaf in certificates(renew(stage, first))] == [KEY.public_key()]


def names_of(leaf: x509.Certificate) -> x509.SubjectAlternativeName:
    return leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
