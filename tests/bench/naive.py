"""The naive path: a CA as anyone would write it in an afternoon, to be measured beside ours.

FastAPI with a pydantic body, SQLAlchemy's ORM with one commit a certificate, and cryptography's
CertificateBuilder with the key in the token (python-pkcs11, behind a lock) or in memory. It checks
and spends a one-time token, checks the proof of possession, and stores and answers the certificate;
the profile is ours, field by field, and so are the database's settings, the HTTP parser, the event
loop and TLS. It keeps no intent and no audit trail, lints nothing, and does not verify what it signed:
a crash between its signature and its commit loses a certificate.

Its endpoint is measured in both forms in which people write it: `naive` is a `def`, as FastAPI
advises, and `naive-async` an `async def` that blocks, which no one advises and which is faster where
one writer at a time may write. `naive-workers` is `naive` in as many processes as ours has.

    python -m tests.bench.naive     with the NAIVE_* variables that `tests/bench/services.py` sets
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI, Header, HTTPException, Request
from pydantic import BaseModel
from sqlalchemy import Engine, LargeBinary, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from ca import workers
from ca.listening import listener
from tests.bench.contents import Profile, spiffe_id
from tests.bench.keys import SigningKey, open_key
from tests.bench.plan import NAIVE, NAIVE_ASYNC, NAIVE_WORKERS, WORKERS


class Base(DeclarativeBase):
    """The tables."""


class Token(Base):
    """A one-time enrolment token, by its SHA-256."""

    __tablename__ = "tokens"
    sha256: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    agent: Mapped[str]
    expires_at: Mapped[int]
    spent: Mapped[bool]


class Certificate(Base):
    """A certificate that was issued."""

    __tablename__ = "certificates"
    id: Mapped[int] = mapped_column(primary_key=True)
    serial: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    agent: Mapped[str] = mapped_column(index=True)
    key_sha256: Mapped[bytes] = mapped_column(LargeBinary, index=True)
    not_before: Mapped[int]
    not_after: Mapped[int]
    der: Mapped[bytes] = mapped_column(LargeBinary)
    x5t: Mapped[bytes] = mapped_column(LargeBinary, index=True)


class EnrolmentBody(BaseModel):
    """What an agent sends."""

    csr: str


class EnrolmentAnswer(BaseModel):
    """What it gets."""

    serial: str
    certificate: str
    chain: str
    not_before: datetime
    not_after: datetime
    renew_after: datetime
    x5t: str
    spiffe_id: str
    client_id: str


def application(sessions: sessionmaker[Session], profile: Profile, key: SigningKey, form: str) -> FastAPI:
    """The application: one endpoint, in one of the two forms in which it is written."""
    app = FastAPI()
    app.state.sessions, app.state.profile, app.state.key = sessions, profile, key
    app.state.issuing = profile.issuer.public_bytes(Encoding.PEM).decode()
    app.post("/v1/certificates", status_code=201)({NAIVE: enrol_in_a_thread, NAIVE_ASYNC: enrol}[form])
    return app


async def enrol(request: Request, body: EnrolmentBody, authorization: Annotated[str, Header()]) -> EnrolmentAnswer:
    """One certificate for one token. It blocks the event loop: one after another, and no thread in between."""
    return _issue(request.app.state, body, authorization.removeprefix("Bearer "))


def enrol_in_a_thread(
    request: Request, body: EnrolmentBody, authorization: Annotated[str, Header()]
) -> EnrolmentAnswer:
    """The same as FastAPI advises for what blocks: in a thread of its pool."""
    return _issue(request.app.state, body, authorization.removeprefix("Bearer "))


def _issue(state: Any, body: EnrolmentBody, token: str) -> EnrolmentAnswer:
    csr = _proven(body.csr)
    with state.sessions() as database:
        agent = _spend(database, token)
        certificate = state.profile.sign(agent, csr.public_key(), state.key)
        database.add(_row(certificate, agent))
        database.commit()
    return _answer(certificate, agent, state.issuing)


def _proven(pem: str) -> x509.CertificateSigningRequest:
    try:
        request = x509.load_pem_x509_csr(pem.encode())
    except ValueError as error:
        raise HTTPException(422, "not a CSR") from error
    if not request.is_signature_valid:
        raise HTTPException(422, "the CSR's signature does not verify")
    return request


def _spend(database: Session, presented: str) -> str:
    token = database.get(Token, sha256(presented.encode()).digest(), with_for_update=True)
    if token is None or token.spent or token.expires_at < datetime.now(UTC).timestamp():  # noqa: TID251 (see above)
        raise HTTPException(401, "no such token")
    token.spent = True
    return token.agent


def _row(certificate: x509.Certificate, agent: str) -> Certificate:
    der = certificate.public_bytes(Encoding.DER)
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Certificate(
        serial=certificate.serial_number.to_bytes(20, "big"),
        agent=agent,
        key_sha256=sha256(spki).digest(),
        not_before=int(certificate.not_valid_before_utc.timestamp()),
        not_after=int(certificate.not_valid_after_utc.timestamp()),
        der=der,
        x5t=sha256(der).digest(),
    )


def _answer(certificate: x509.Certificate, agent: str, issuing: str) -> EnrolmentAnswer:
    pem = certificate.public_bytes(Encoding.PEM).decode()
    not_after = certificate.not_valid_after_utc
    return EnrolmentAnswer(
        serial=f"{certificate.serial_number:x}",
        certificate=pem,
        chain=pem + issuing,
        not_before=certificate.not_valid_before_utc,
        not_after=not_after,
        renew_after=not_after - timedelta(minutes=7),
        x5t=certificate.fingerprint(hashes.SHA256()).hex(),
        spiffe_id=spiffe_id(agent),
        client_id=f"https://127.0.0.1/clients/default/{agent}",
    )


def open_database(url: str) -> Engine:
    """An engine with its tables; SQLite in WAL with synchronous=FULL, as ours."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _connect(connection: Any, _record: object) -> None:
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 5000"):
                connection.execute(f"PRAGMA {pragma}")

    Base.metadata.create_all(engine)
    return engine


def main() -> int:
    """Serves on NAIVE_PORT of loopback over TLS, with the key of the home NAIVE_HOME."""
    form = os.environ["NAIVE_FORM"]
    if form == NAIVE_WORKERS:
        return workers.run(WORKERS, lambda ready: _serve(NAIVE, ready))
    return _serve(form, lambda: None)


def _serve(form: str, ready: Callable[[], object]) -> int:
    home, status_url = Path(os.environ["NAIVE_HOME"]), os.environ["NAIVE_STATUS_URL"]
    _, issuer = x509.load_pem_x509_certificates((home / "tls" / "tls.crt").read_bytes())
    sessions = sessionmaker(open_database(os.environ["NAIVE_DATABASE_URL"]))
    config = uvicorn.Config(
        application(sessions, Profile(issuer, status_url), open_key(home, issuer), form),
        loop="uvloop",
        http="httptools",
        ssl_keyfile=home / "tls" / "tls.key",
        ssl_certfile=home / "tls" / "tls.crt",
        log_level="warning",
        access_log=False,
    )
    ready()
    uvicorn.Server(config).run([listener("127.0.0.1", int(os.environ["NAIVE_PORT"]), shared=True)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
