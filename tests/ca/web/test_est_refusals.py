"""EST in this process: what is refused, in words, and what stays whole."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from ca.authority import agents, hold, operators
from ca.authority.issuance import Issued
from ca.identifiers import AgentId, OperatorName
from ca.refusals import Reason
from ca.store.operators import Role
from ca.web import est
from ca.web.problems import RETRY_AFTER_SECONDS, TYPE
from tests.ca.authority.stage import AGENT, TENANT, Stage, new_key, request, run
from tests.ca.web.est_client import (
    LINE,
    PKCS10,
    ask,
    basic,
    certificates,
    enrol,
    new_token,
    refused,
    renew,
)
from tests.world import key_and_csr

NOT_SHOWN: dict[str, Callable[[str], str]] = {
    "an empty header": lambda _token: "",
    "a scheme alone": lambda _token: "Basic",
    "a token alone": lambda token: token,
    "another scheme": lambda token: f"Digest {token}",
    "a password in the clear": lambda token: f"Basic {AGENT}:{token}",
    "base64url": lambda token: basic("\u00ff\u00fe?>", token).replace("/", "_").replace("+", "-"),
    "not UTF-8": lambda token: "Basic " + b64encode(b"\xff:" + token.encode()).decode(),
    "a name alone": lambda token: "Basic " + b64encode(token.encode()).decode(),
    "the token as the name": lambda token: basic(token, ""),
    "a token of another form": lambda token: basic("", token[:-1]),
    "a token that is unknown": lambda token: basic("", token[:-4] + "AAAA"),
    "another agent's name": lambda token: basic("other", token),
    "the agent's name in other letters": lambda token: basic(AGENT.upper(), token),
    "a name of any kind": lambda token: basic("est", token),
}


@pytest.mark.parametrize("shown", NOT_SHOWN.values(), ids=NOT_SHOWN)
def test_who_shows_no_good_token_is_asked_for_one(stage: Stage, shown: Callable[[str], str]) -> None:
    token = new_token(stage)
    answer = enrol(stage, shown(token))
    assert refused(answer, Reason.UNAUTHENTICATED)
    assert answer.headers.get_list("www-authenticate") == ['Basic realm="remit"']
    assert stage.signer.signed == []
    assert token not in answer.text
    assert len(certificates(enrol(stage, basic(AGENT, token)))) == 1, "the token is still whole"


def test_who_shows_nothing_is_asked_and_told_nothing(stage: Stage) -> None:
    """BouncyCastle's client waits for the question, and fails when it has a body."""
    answer = enrol(stage, None)
    assert (answer.status_code, answer.content) == (401, b"")
    assert answer.headers.get_list("www-authenticate") == ['Basic realm="remit"']


def test_a_wrong_name_is_refused_as_a_wrong_token_is(stage: Stage) -> None:
    token = new_token(stage)
    assert enrol(stage, basic("other", token)).text == enrol(stage, basic("other", token[:-4] + "AAAA")).text


def test_a_wrong_name_is_noted_for_it_may_be_a_thief_s(stage: Stage) -> None:
    enrol(stage, basic("other", new_token(stage)))
    (entry,) = [one for one in stage.audited("certificate.enrol") if one.decision == "refused"]
    assert (entry.agent, entry.detail) == (AGENT, {"reason": "token-invalid"})


def test_a_spent_token_opens_for_no_other_key(stage: Stage) -> None:
    shown = basic(AGENT, new_token(stage))
    assert len(certificates(enrol(stage, shown))) == 1
    assert refused(enrol(stage, shown, key_and_csr()[1]), Reason.TOKEN_INVALID)
    assert len(stage.issued()) == 1


def sized(octets: int) -> bytes:
    return b"A" * octets


BAD: dict[str, tuple[Reason, bytes]] = {
    "another agent's subject": (Reason.CSR_IDENTITY, key_and_csr(f"CN=other,OU={TENANT},O=Remit")[1]),
    "nothing": (Reason.CSR_MALFORMED, b""),
    "garbage": (Reason.CSR_MALFORMED, b"garbage"),
    "base64 of garbage": (Reason.CSR_MALFORMED, b64encode(b"garbage")),
    "half of it": (Reason.CSR_MALFORMED, LINE[: len(LINE) // 2]),
    "base64 twice": (Reason.CSR_MALFORMED, b64encode(LINE)),
    "two requests": (Reason.CSR_MALFORMED, LINE + LINE),
    "base64url": (Reason.CSR_MALFORMED, LINE[:40] + b"-_" + LINE[42:]),
    "a form": (Reason.CSR_MALFORMED, b"csr=" + LINE),
    "JSON": (Reason.CSR_MALFORMED, b'{"csr": "' + LINE + b'"}'),
    "a certificate request that is too large": (Reason.TOO_LARGE, sized(13_000)),
    "a body that is too large": (Reason.TOO_LARGE, sized(70_000)),
}


@pytest.mark.parametrize(("reason", "content"), BAD.values(), ids=BAD)
def test_a_bad_request_is_refused_and_the_token_stays_whole(stage: Stage, reason: Reason, content: bytes) -> None:
    shown = basic(AGENT, new_token(stage))
    assert refused(enrol(stage, shown, content), reason)
    assert stage.signer.signed == []
    assert len(certificates(enrol(stage, shown))) == 1


@pytest.mark.parametrize("media", [None, "", "text/plain", "application/pkcs7-mime", "application/x-pem-file", "*/*"])
def test_another_media_type_is_refused(stage: Stage, media: str | None) -> None:
    assert refused(enrol(stage, basic(AGENT, new_token(stage)), Content_Type=media), Reason.UNSUPPORTED_MEDIA_TYPE)


@pytest.mark.parametrize("media", ["application/pkcs10; charset=us-ascii", "Application/PKCS10"])
def test_parameters_and_letters_of_the_media_type_do_not_matter(stage: Stage, media: str) -> None:
    assert len(certificates(enrol(stage, basic(AGENT, new_token(stage)), Content_Type=media))) == 1


def test_a_suspended_agent_is_refused(stage: Stage) -> None:
    shown = basic(AGENT, new_token(stage))
    agents.suspend(stage.authority, TENANT, AgentId(AGENT), "ops")
    assert refused(enrol(stage, shown), Reason.AGENT_SUSPENDED)


def test_an_authority_that_stops_says_when_to_come_again(stage: Stage) -> None:
    shown = basic(AGENT, new_token(stage))
    stage.authority.close()
    answer = enrol(stage, shown)
    assert refused(answer, Reason.UNAVAILABLE)
    assert answer.headers["retry-after"] == str(RETRY_AFTER_SECONDS)


def test_who_asks_for_a_problem_gets_one(stage: Stage) -> None:
    answer = enrol(stage, None, Accept="application/problem+json")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == TYPE + Reason.UNAUTHENTICATED
    assert answer.headers["www-authenticate"] == 'Basic realm="remit"'


@pytest.mark.parametrize("path", [est.CACERTS, est.CSRATTRS, est.SIMPLEENROLL, est.SIMPLEREENROLL])
@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "SIGN"])
def test_another_method_is_refused(stage: Stage, path: str, method: str) -> None:
    assert ask(stage, method, path).status_code == 405


@pytest.mark.parametrize("path", ["", "/", "/fullcmc", "/serverkeygen", "/label/simpleenroll", "/simpleenroll/", "/x"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_there_is_nothing_else(stage: Stage, path: str, method: str) -> None:
    """RFC 7030 4.3 and 4.4 are optional, and a key is never made for an agent; one CA needs no label (3.2.2)."""
    answer = ask(stage, method, f"/.well-known/est{path}", LINE, Content_Type=PKCS10)
    assert (answer.status_code, answer.json()["type"]) == (404, TYPE + Reason.NOT_FOUND)


def test_a_fault_is_a_sentence_that_tells_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bytes:
        raise RuntimeError("canary")

    monkeypatch.setattr(est, "serialize_certificates", broken)
    with capture_logs():
        answer = enrol(stage, basic(AGENT, new_token(stage)))
    assert refused(answer, Reason.INTERNAL)
    assert "canary" not in answer.text
    (failed,) = stage.audited(f"POST {est.SIMPLEENROLL}")
    assert failed.decision == "failed"


def test_the_operations_are_in_the_document(stage: Stage) -> None:
    paths = ask(stage, "GET", "/openapi.json").json()["paths"]
    told = {(path, method) for path, methods in paths.items() for method in methods if path.startswith("/.well-known")}
    assert told == {
        (est.CACERTS, "get"),
        (est.CSRATTRS, "get"),
        (est.SIMPLEENROLL, "post"),
        (est.SIMPLEREENROLL, "post"),
    }


# Renewals.


def suspend(stage: Stage, _issued: Issued) -> None:
    agents.suspend(stage.authority, TENANT, AgentId(AGENT), "ops")


ENDS: dict[str, tuple[Reason, Callable[[Stage, Issued], object]]] = {
    "revoked": (Reason.UNAUTHENTICATED, lambda stage, issued: stage.revoke(issued)),
    "on hold": (Reason.UNAUTHENTICATED, lambda stage, issued: hold.hold(stage.authority, issued.intent.serial, "ops")),
    "expired": (Reason.UNAUTHENTICATED, lambda stage, _issued: stage.clock.forward(minutes=16)),
    "of a suspended agent": (Reason.AGENT_SUSPENDED, suspend),
}


@pytest.mark.parametrize(("reason", "end"), ENDS.values(), ids=ENDS)
def test_what_is_no_longer_live_is_not_renewed(
    stage: Stage, reason: Reason, end: Callable[[Stage, Issued], object]
) -> None:
    first = stage.enrolled()
    stage.signer.signed.clear()
    end(stage, first)
    assert refused(renew(stage, first), reason)
    assert stage.signer.signed == []


def test_an_operator_s_certificate_is_not_renewed_here(stage: Stage) -> None:
    made = operators.add(stage.authority, OperatorName("admin"), Role.ADMIN, request(new_key()), "ceremony")
    assert refused(renew(stage, run(made)[1]), Reason.UNAUTHENTICATED)


def test_a_token_renews_nothing(stage: Stage) -> None:
    shown = basic(AGENT, new_token(stage))
    assert refused(renew(stage, None, Authorization=shown), Reason.UNAUTHENTICATED)
    assert len(certificates(enrol(stage, shown))) == 1, "it is still whole"


def test_a_renewal_takes_no_other_name(stage: Stage) -> None:
    first = stage.enrolled()
    assert refused(renew(stage, first, key_and_csr(f"CN=other,OU={TENANT},O=Remit")[1]), Reason.CSR_IDENTITY)
