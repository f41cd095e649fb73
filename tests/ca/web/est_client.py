"""A client of EST in this process, and how it reads what it is answered."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from fastapi import FastAPI

from ca.authority import tokens
from ca.authority.issuance import Issued
from ca.authority.publisher import Publisher
from ca.refusals import Reason
from ca.web import est
from ca.web.app import build
from ca.web.issued import pem
from ca.web.peer import Receive, Scope, Send
from ca.web.problems import STATUS
from tests.ca.authority.stage import AGENT, TASK, TENANT, Stage, run
from tests.world import key_and_csr

KEY, CSR = key_and_csr()
DER = x509.load_pem_x509_csr(CSR).public_bytes(Encoding.DER)
LINE = b64encode(DER)
PKCS10 = "application/pkcs10"


@asynccontextmanager
async def _no_life(_app: FastAPI) -> AsyncIterator[None]:
    yield


def ask(
    stage: Stage, method: str, path: str, content: bytes = b"", as_: Issued | None = None, **headers: str | None
) -> httpx2.Response:
    """One request; `as_` whose certificate, and `Content_Type` is a header's name as Python spells it."""
    sent = {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
    door = build(stage.authority, Publisher(stage.authority, "ours"), _no_life)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if as_ is not None:
            scope.setdefault("extensions", {})["tls"] = {"client_cert_chain": [pem(as_.der)]}
        await door(scope, receive, send)

    async def asking() -> httpx2.Response:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="https://ca.example") as client:
            return await client.request(method, path, content=content, headers=sent)

    return run(asking())


def enrol(stage: Stage, authorization: str | None, content: bytes = LINE, **headers: str | None) -> httpx2.Response:
    given = {"Content_Type": PKCS10, "Authorization": authorization, **headers}
    return ask(stage, "POST", est.SIMPLEENROLL, content, **given)


def renew(stage: Stage, as_: Issued | None, content: bytes = LINE, **headers: str | None) -> httpx2.Response:
    return ask(stage, "POST", est.SIMPLEREENROLL, content, as_, Content_Type=PKCS10, **headers)


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
