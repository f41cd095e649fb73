"""EST in this process: what is read, what is answered, and what is refused in words."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from fastapi import FastAPI
from structlog.testing import capture_logs

from ca.authority import agents, tokens
from ca.authority.publisher import Publisher
from ca.identifiers import AgentId
from ca.refusals import Reason
from ca.web import est
from ca.web.app import build
from ca.web.problems import RETRY_AFTER_SECONDS, STATUS, TYPE
from tests.ca.authority.stage import AGENT, TASK, TENANT, Stage, run
from tests.world import key_and_csr

KEY, CSR = key_and_csr()
DER = x509.load_pem_x509_csr(CSR).public_bytes(Encoding.DER)
LINE = b64encode(DER)
PKCS10 = "application/pkcs10"


@asynccontextmanager
async def _no_life(_app: FastAPI) -> AsyncIterator[None]:
    yield


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """An authority that would issue: the agent and its task are there."""
    made = Stage(tmp_path)
    made.agent()
    made.task()
    yield made
    made.close()


def ask(stage: Stage, method: str, path: str, content: bytes = b"", **headers: str | None) -> httpx2.Response:
    """One request; `Content_Type` is a header's name as Python spells it."""
    sent = {name.replace("_", "-"): value for name, value in headers.items() if value is not None}

    async def asking() -> httpx2.Response:
        transport = httpx2.ASGITransport(app=build(stage.authority, Publisher(stage.authority, "ours"), _no_life))
        async with httpx2.AsyncClient(transport=transport, base_url="https://ca.example") as client:
            return await client.request(method, path, content=content, headers=sent)

    return run(asking())


def enrol(stage: Stage, authorization: str | None, content: bytes = LINE, **headers: str | None) -> httpx2.Response:
    given = {"Content_Type": PKCS10, "Authorization": authorization, **headers}
    return ask(stage, "POST", est.SIMPLEENROLL, content, **given)


def new_token(stage: Stage) -> str:
    made: dict[str, Any] = {"agent": AGENT, "task": TASK, "key": None, "actor": "ops"}
    return tokens.create(stage.authority, tenant=TENANT, lifetime=tokens.DEFAULT_LIFETIME, **made)[0]


def basic(name: str, password: str) -> str:
    return "Basic " + b64encode(f"{name}:{password}".encode()).decode()


def certificates(answer: httpx2.Response) -> list[x509.Certificate]:
    """What a client reads of an answer that is in order."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/pkcs7-mime; smime-type=certs-only"
    assert answer.headers["content-transfer-encoding"] == "base64"
    return pkcs7.load_der_pkcs7_certificates(b64decode(answer.content, validate=True))


def refused(answer: httpx2.Response, reason: Reason) -> bool:
    """Whether it is this refusal, in one sentence of plain text."""
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.text.endswith(".\n"), answer.text
    assert answer.text.count("\n") == 1
    return answer.status_code == STATUS[reason]


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


# Refusals.


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


@pytest.mark.parametrize("path", [est.CACERTS, est.CSRATTRS, est.SIMPLEENROLL])
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
    assert told == {(est.CACERTS, "get"), (est.CSRATTRS, "get"), (est.SIMPLEENROLL, "post")}
