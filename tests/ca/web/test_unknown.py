"""Case 36: an unknown profile, message, grant, media type, version or member is refused; the signer is never called.

Each request is one that would be granted, but for one thing.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI

from ca.authority import tokens
from ca.authority.publisher import Publisher
from ca.refusals import Reason
from ca.web.app import build
from ca.web.problems import STATUS, TYPE
from tests.ca.authority.stage import AGENT, TASK, TENANT, Stage, run
from tests.world import key_and_csr

KEY, CSR = key_and_csr()
DER = x509.load_pem_x509_csr(CSR).public_bytes(Encoding.DER)
SPKI = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
PKCS10 = "application/pkcs10"


@dataclass(frozen=True)
class Asking:
    """An enrolment that is in order; `{}` in a header stands for the token, None for no header at all."""

    method: str = "POST"
    path: str = "/v1/certificates"
    authorization: str | None = "Bearer {}"
    media: str | None = "application/json"
    members: dict[str, object] = field(default_factory=dict)
    content: bytes | None = None

    def headers(self, token: str) -> dict[str, str]:
        given = {"Authorization": self.authorization, "Content-Type": self.media}
        return {name: value.replace("{}", token) for name, value in given.items() if value is not None}

    def body(self) -> bytes:
        if self.content is not None:
            return self.content
        return json.dumps({"csr": CSR.decode(), **self.members}).encode()


def pem(label: str, der: bytes) -> bytes:
    return f"-----BEGIN {label}-----\n{b64encode(der).decode()}\n-----END {label}-----\n".encode()


def with_member(**members: object) -> tuple[Reason, Asking]:
    return Reason.MALFORMED, Asking(members=members)


def as_csr(content: bytes) -> tuple[Reason, Asking]:
    return Reason.CSR_MALFORMED, Asking(media=PKCS10, content=content)


def of_media(media: str | None) -> tuple[Reason, Asking]:
    return Reason.UNSUPPORTED_MEDIA_TYPE, Asking(media=media)


def granted_by(authorization: str | None, reason: Reason = Reason.UNAUTHENTICATED) -> tuple[Reason, Asking]:
    return reason, Asking(authorization=authorization)


UNKNOWN: dict[str, tuple[Reason, Asking]] = {
    # Profiles, and whatever else some CAs let a request choose.
    "a profile": with_member(profile="ca"),
    "the only profile": with_member(profile="agent"),
    "a kind": with_member(kind="issuing"),
    "a template": with_member(template="SubCA"),
    "template data": with_member(templateData={"isCA": True}),
    "extensions": with_member(extensions=[{"oid": "2.5.29.19", "value": "MAMBAf8="}]),
    "names": with_member(sans=["ca.example"], subject="CN=ca"),
    "a serial": with_member(serial="01"),
    "a version": with_member(version=2),
    "a member in other letters": with_member(CSR="x"),
    "a member of no name": with_member(**{"": "x"}),
    "a CSR of another type": with_member(csr=[CSR.decode()]),
    "a time of another type": with_member(not_after="tomorrow"),
    "a time before there is one in UTC": with_member(not_after="0001-01-01T00:00:00+14:00"),
    "JSON of another type": (Reason.MALFORMED, Asking(content=json.dumps([CSR.decode()]).encode())),
    "JSON twice": (Reason.MALFORMED, Asking(content=Asking().body() * 2)),
    # Messages that are not a PKCS #10 request.
    "PEM of a new kind": as_csr(pem("NEW CERTIFICATE REQUEST", DER)),
    "PEM of a certificate": as_csr(pem("CERTIFICATE", DER)),
    "PEM of PKCS #7": as_csr(pem("PKCS7", DER)),
    "PEM in PEM": as_csr(pem("CERTIFICATE REQUEST", CSR)),
    "a public key": as_csr(SPKI),
    "CMC around it (RFC 5272)": as_csr(b"\x30\x82" + (len(DER) + 4).to_bytes(2, "big") + b"\xa0\x82\x00\x00" + DER),
    "two requests": as_csr(DER + DER),
    "CRMF (RFC 4211)": as_csr(b"\x30\x08\x30\x06\x30\x04\x02\x01\x00\x30"),
    "a JSON body as PKCS #10": as_csr(Asking().body()),
    # Media types.
    **{
        f"as {media!r}": of_media(media)
        for media in (
            *(
                None,
                "",
                "*/*",
                "text/plain",
                "text/json",
                "application/json5",
                "application/jsonx",
                "multipart/form-data",
            ),
            *("application/x-www-form-urlencoded", "application/pkcs7-mime", "application/pkixcmp", "application/cbor"),
            *("application/x-pem-file", "application/jose+json", "application/pkcs10+json"),
        )
    },
    # Grants: the token is right each time.
    **{
        f"granted by {scheme!r}": granted_by(scheme)
        for scheme in (None, "", "Bearer", "{}", "Basic {}", "DPoP {}", "Token {}", "Negotiate {}", "Bearer:{}")
    },
    "granted by two": granted_by("Bearer {}, Bearer {}", Reason.TOKEN_INVALID),
    "granted by a token of another kind": granted_by("Bearer remit_rt_{}", Reason.TOKEN_INVALID),
    # Versions and paths of the API.
    **{
        f"at {path}": (Reason.NOT_FOUND, Asking(path=path))
        for path in (
            *("/v2/certificates", "/v0/certificates", "/v1.1/certificates", "/V1/certificates", "/certificates"),
            *("/v1/Certificates", "/v1//certificates", "/v1/certificates;v=2", "/v1/sign"),
            *("/.well-known/est/agent/simpleenroll", "/acme/new-order", "/1.0/sign", "/ejbca/publicweb/cmp"),
        )
    },
    **{
        f"by {method}": (Reason.METHOD_NOT_ALLOWED, Asking(method=method))
        for method in ("PUT", "PATCH", "DELETE", "SIGN")
    },
}


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


def send(stage: Stage, token: str, asking: Asking) -> httpx2.Response:
    """The whole application in this process, with a signer that counts."""

    async def sending() -> httpx2.Response:
        transport = httpx2.ASGITransport(app=build(stage.authority, Publisher(stage.authority, "ours"), _no_life))
        async with httpx2.AsyncClient(transport=transport, base_url="https://ca.example") as client:
            headers = asking.headers(token)
            return await client.request(asking.method, asking.path, content=asking.body(), headers=headers)

    return run(sending())


def new_token(stage: Stage) -> str:
    minutes = timedelta(minutes=5)
    token, _ = tokens.create(
        stage.authority, tenant=TENANT, agent=AGENT, task=TASK, key=None, lifetime=minutes, actor="ops"
    )
    return token


@pytest.mark.parametrize(("reason", "asking"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_unknown_is_refused_and_nothing_is_signed(stage: Stage, reason: Reason, asking: Asking) -> None:
    token = new_token(stage)
    answer = send(stage, token, asking)
    assert (answer.status_code, answer.json()["type"]) == (STATUS[reason], TYPE + reason), answer.text
    assert stage.signer.signed == []
    assert stage.unfinished() == []
    assert stage.issued() == []
    # A control: it was for that one thing, and the token is still whole.
    assert send(stage, token, Asking()).status_code == 201
    assert len(stage.signer.signed) == 1


def test_what_is_refused_names_the_member(stage: Stage) -> None:
    answer = send(stage, new_token(stage), Asking(members={"profile": "ca"}))
    assert "profile" in answer.json()["detail"]


def test_parameters_of_a_known_media_type_choose_nothing(stage: Stage) -> None:
    """RFC 9110 8.3.1: they are not another type; what is issued is what is always issued."""
    answer = send(stage, new_token(stage), Asking(media="application/json; profile=ca; charset=utf-8"))
    assert answer.status_code == 201
    leaf = x509.load_pem_x509_certificate(answer.json()["certificate"].encode())
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
