"""Between the decision and the answer: nothing is signed that failed the lint, nothing leaves that does not verify.

Cases 6 and 7 as far as they are of OCSP.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.x509 import ocsp
from structlog.testing import capture_logs

from ca.refusals import Reason, Refused
from ocsp import answer, responder
from ocsp.answer import Contents, response_data
from ocsp.lint import Linted, lint_response
from ocsp.request import parse
from tests.ocsp.house import GOOD, NEVER_ISSUED, NONCE, REVOKED, House, question, run

TRY_LATER = ocsp.OCSPResponseStatus.TRY_LATER
INTERNAL_ERROR = ocsp.OCSPResponseStatus.INTERNAL_ERROR
HOUSE = House()


@pytest.fixture
def house() -> House:
    return House()


def ask(house: House, der: bytes) -> ocsp.OCSPResponse:
    return ocsp.load_der_ocsp_response(run(house.responder.answer([der])).body)


# The lint (case 6).


def test_what_was_linted_is_byte_for_byte_what_is_signed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[bytes] = []

    def noting(tbs: bytes, *arguments: Any, **named: Any) -> Linted:
        linted = lint_response(tbs, *arguments, **named)
        passed.append(linted.tbs)
        return linted

    monkeypatch.setattr(responder, "lint_response", noting)
    answers = [ask(house, question(house.issuing, serial, nonce=NONCE)) for serial in (GOOD, REVOKED, NEVER_ISSUED)]
    assert passed == house.signer.signed == [read.tbs_response_bytes for read in answers]


WRONG: dict[str, Callable[[Contents], Contents]] = {
    "good of what was never issued": lambda contents: replace(contents, statuses=(answer.GOOD,)),
    "for an hour longer": lambda contents: replace(contents, next_update=contents.next_update + timedelta(hours=1)),
    "with a nonce that nobody sent": lambda contents: replace(contents, request=replace(contents.request, nonce=b"n")),
    "of another certificate": lambda contents: replace(contents, request=parse(question(HOUSE.issuing, 5))),
    "with more statuses than certificates": lambda contents: replace(contents, statuses=contents.statuses * 2),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_an_answer_that_fails_the_lint_is_not_signed(
    house: House, monkeypatch: pytest.MonkeyPatch, wrong: Callable[[Contents], Contents]
) -> None:
    monkeypatch.setattr(responder, "response_data", lambda by, contents: response_data(by, wrong(contents)))
    _is_an_internal_error_and_nothing_is_signed(house)


@pytest.mark.parametrize("error", [RuntimeError, RecursionError, AssertionError, Refused(Reason.CONFLICT, "what?")])
def test_a_linter_that_breaks_signs_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch, error: type[Exception] | Exception
) -> None:
    def broken(*_: object, **__: object) -> Linted:
        raise error

    monkeypatch.setattr(responder, "lint_response", broken)
    _is_an_internal_error_and_nothing_is_signed(house)


def test_a_failed_lint_leaves_an_answer_that_is_still_true(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    der = question(house.issuing, GOOD)
    first = run(house.responder.answer([der]))
    monkeypatch.setattr(responder, "response_data", lambda *_: b"")
    house.later(seconds=45)
    assert run(house.responder.answer([der])) is first
    assert house.metrics.lint_failures._value.get() == 1
    house.revoke(GOOD)
    assert ask(house, der).response_status is INTERNAL_ERROR
    assert len(house.signer.signed) == 1


def _is_an_internal_error_and_nothing_is_signed(house: House) -> None:
    """And it is counted, said in the log, kept by nobody, and the next is none the worse."""
    with capture_logs() as logged:
        document = run(house.responder.answer([question(house.issuing, NEVER_ISSUED)]))
    assert ocsp.load_der_ocsp_response(document.body).response_status is INTERNAL_ERROR
    assert document.life is None
    assert house.signer.signed == []
    assert len(house.cache) == 0
    assert house.outcomes() == {"lint_failed": 1}
    assert house.metrics.lint_failures._value.get() == 1
    assert [(line["log_level"], "nothing was signed" in line["event"]) for line in logged] == [("error", True)]


# Signatures (case 7).


def test_a_signature_that_does_not_verify_does_not_leave(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = house.signer.sign
    monkeypatch.setattr(house.signer, "sign", lambda key, messages: genuine(key, [b"other bytes" for _ in messages]))
    assert ask(house, question(house.issuing, GOOD)).response_status is TRY_LATER
    assert len(house.cache) == 0
    assert house.signer.distrusted, "and its key is not used again until it proved itself (case 7)"


def test_a_signer_that_returns_too_few_signatures_is_away(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = house.signer.sign
    monkeypatch.setattr(house.signer, "sign", lambda key, messages: genuine(key, messages[1:]))
    assert ask(house, question(house.issuing, GOOD)).response_status is TRY_LATER
