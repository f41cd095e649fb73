"""A status service in one process: a CA in memory, a dictionary for a database, a clock that a test turns."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any, TypeVar
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ca.hsm import KeyKind
from ca.identifiers import Serial
from ca.refusals import Refused
from ca.store.crls import Heading, PublishedCrl
from ca.store.status import Authority, CertificateStatus, Good, Intended, Responder, Revoked, Unknown
from ocsp.app import App
from ocsp.cache import Cache
from ocsp.meter import Meter
from ocsp.metrics import Metrics
from ocsp.probes import Probes
from ocsp.publications import Publications
from ocsp.responder import Responder as Answering
from ocsp.responder import Terms
from ocsp.view import View
from tests.memory_signer import MemorySigner

T = TypeVar("T")

# Real clients judge by the real clock, the others by a test's.
_LONG = timedelta(days=36500)

VALIDITY = timedelta(seconds=60)
GOOD = Serial(0x1001)
REVOKED = Serial(0x1002)
UNFINISHED = Serial(0x1003)
NEVER_ISSUED = Serial(0x1FFF)
REVOKED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NONCE = x509.OCSPNonce(bytes(range(32)))


class DriverError(Exception):
    """What the dictionary raises while it is `away`: of no kind that the service knows."""


@dataclass
class Shelf:
    """A `Reader` without a database. `commit` is what makes a change visible."""

    cas: list[Authority] = field(default_factory=list)
    responders_of: dict[str, list[x509.Certificate]] = field(default_factory=dict)
    rows: dict[tuple[str, Serial], CertificateStatus] = field(default_factory=dict)
    crls: dict[tuple[str, int], PublishedCrl] = field(default_factory=dict)
    away: bool = False
    lookups: list[tuple[str, list[Serial]]] = field(default_factory=list)
    fetches: list[tuple[str, int]] = field(default_factory=list)
    commits: int = 0
    closed: bool = False

    def commit(self) -> None:
        self.commits += 1

    def authorities(self) -> list[Authority]:
        self._require()
        return list(self.cas)

    def responders(self, authority_id: str, now: datetime) -> list[Responder]:
        return [Responder(one) for one in self.responders_of.get(authority_id, ()) if now < one.not_valid_after_utc]

    def lists(self) -> list[Heading]:
        return [
            Heading(one.issuer, one.shard, one.number, one.this_update, one.next_update, one.revision, one.entries)
            for one in self.crls.values()
        ]

    def statuses(self, authority_id: str, serials: Sequence[Serial]) -> dict[Serial, CertificateStatus]:
        self._require()
        self.lookups.append((authority_id, list(serials)))
        return {serial: self.rows.get((authority_id, serial), Unknown()) for serial in serials}

    def crl(self, authority_id: str, shard: int = 0) -> PublishedCrl | None:
        self._require()
        self.fetches.append((authority_id, shard))
        return self.crls.get((authority_id, shard))

    def version(self) -> object:
        self._require()
        return self.commits

    def close(self) -> None:
        self.closed = True

    def _require(self) -> None:
        if self.away:
            raise DriverError("the database went away")


class Bell:
    """A `Watcher` without a database: who waits hears it ring."""

    def __init__(self) -> None:
        self.rung, self.heard = Event(), Event()
        self.fault: Refused | None = None
        self.waits = 0
        self.closed = False

    def wait(self, seconds: float) -> None:
        self.waits += 1
        self.heard.set()
        if self.fault:
            raise self.fault
        self.rung.wait(seconds)
        self.rung.clear()

    def close(self) -> None:
        self.closed = True


@dataclass
class Reply:
    """What a client got."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def ocsp(self) -> ocsp.OCSPResponse:
        return ocsp.load_der_ocsp_response(self.body)


class House:
    """Root and issuing CA, a responder's key in memory, and everything of the service upon them."""

    def __init__(
        self, *, kind: KeyKind = KeyKind.P256, unissued_is_revoked: bool = False, unkept: float = 1000
    ) -> None:
        self.now = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
        self.signer = MemorySigner()
        self.root_key, self.issuing_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        self.root = self._ca("root", self.root_key, "root", self.root_key)
        self.issuing = self._ca("issuing", self.issuing_key, "root", self.root_key)
        self.responder_key = self.signer.generate("ocsp", kind)
        self.shelf = Shelf(
            cas=[Authority("root-1", self.root, "root"), Authority("issuing-1", self.issuing, "issuing")],
            responders_of={"issuing-1": [self.certify(self.responder_key)]},
            rows={
                ("issuing-1", GOOD): Good(),
                ("issuing-1", REVOKED): Revoked(REVOKED_AT, x509.ReasonFlags.key_compromise),
                ("issuing-1", UNFINISHED): Intended(REVOKED_AT),
                ("root-1", NEVER_ISSUED): Good(),
            },
        )
        self.cache, self.metrics = Cache(1 << 20), Metrics()
        self.bell = Bell()
        self.view = View(self.shelf, self.bell, self.signer.adopt, self.clock)
        self.responder = Answering(
            view=self.view,
            cache=self.cache,
            signer=self.signer,
            terms=Terms(VALIDITY, unissued_is_revoked),
            meter=Meter(0, unkept, lambda: 0.0),
            metrics=self.metrics,
            clock=self.clock,
        )
        self.app = App(
            view=self.view,
            cache=self.cache,
            responder=self.responder,
            publications=Publications(self.view, VALIDITY, self.clock),
            metrics=self.metrics,
            probes=Probes(self.view, self.metrics, self.signer.health, self.clock),
            clock=self.clock,
        )
        self.look()

    def clock(self) -> datetime:
        return self.now

    def later(self, **by: float) -> None:
        self.now += timedelta(**by)

    def look(self) -> None:
        """What the service does several times a second."""
        run(self.view.refresh())

    def change(self, serial: Serial, status: CertificateStatus) -> None:
        """A commit, and the service's next look."""
        self.shelf.rows["issuing-1", serial] = status
        self.shelf.commit()
        self.look()

    def revoke(self, serial: Serial) -> None:
        self.change(serial, Revoked(self.now, x509.ReasonFlags.superseded))

    def post(self, body: bytes, path: str = "/ocsp") -> Reply:
        return run(exchange(self.app, "POST", path, body))

    def get(self, path: str | bytes, method: str = "GET", **headers: str) -> Reply:
        return run(exchange(self.app, method, path, b"", **headers))

    def outcomes(self) -> dict[str, int]:
        """How often each kind of answer was counted."""
        return {
            sample.labels["outcome"]: int(sample.value)
            for metric in self.metrics.answers.collect()
            for sample in metric.samples
            if sample.name.endswith("_total") and sample.value
        }

    def leaf(self, serial: Serial) -> x509.Certificate:
        """A certificate of the issuing CA, for clients that want one."""
        key = ec.generate_private_key(ec.SECP256R1())
        return self._builder("leaf", key.public_key(), "issuing", serial.number).sign(self.issuing_key, hashes.SHA256())

    def certify(self, key: Any, life: timedelta = _LONG) -> x509.Certificate:
        """A delegated responder's certificate for this key (RFC 6960 4.2.2.2)."""
        return (
            self._builder("responder", key, "issuing", x509.random_serial_number(), life)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
            .add_extension(x509.OCSPNoCheck(), critical=False)
            .add_extension(_usage(digital_signature=True), critical=True)
            .sign(self.issuing_key, hashes.SHA256())
        )

    def _ca(self, name: str, key: Any, issuer: str, signing: Any) -> x509.Certificate:
        return (
            self._builder(name, key.public_key(), issuer, x509.random_serial_number())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
            .sign(signing, hashes.SHA256())
        )

    def _builder(
        self, name: str, key: Any, issuer: str, serial: int, life: timedelta = _LONG
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(issuer))
            .public_key(key)
            .serial_number(serial)
            .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
            .not_valid_after(self.now + life)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )


def question(
    issuer: x509.Certificate,
    serial: Serial | int,
    algorithm: hashes.HashAlgorithm | None = None,
    nonce: x509.OCSPNonce | None = None,
) -> bytes:
    """The DER of a request about one certificate, as another library writes it."""
    algorithm = algorithm or hashes.SHA1()
    number = serial.number if isinstance(serial, Serial) else serial
    name, key = _hashed(issuer.subject.public_bytes(), algorithm), _hashed(_key_octets(issuer), algorithm)
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(name, key, number, algorithm)
    if nonce is not None:
        builder = builder.add_extension(nonce, critical=False)
    return builder.build().public_bytes(Encoding.DER)


async def exchange(app: App, method: str, path: str | bytes, body: bytes, **headers: str) -> Reply:
    """One HTTP exchange with an ASGI application."""
    raw = path if isinstance(path, bytes) else path.encode()
    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http",
        "method": method,
        "path": unquote(raw.decode("latin-1")),
        "raw_path": raw,
        "headers": given,
    }
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *content = sent
    assert [one.get("more_body", False) for one in content] == [True] * (len(content) - 1) + [False]
    names = {name.decode(): value.decode() for name, value in start["headers"]}
    return Reply(start["status"], names, b"".join(one["body"] for one in content))


def run(act: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end."""
    return asyncio.run(act)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(**true: bool) -> x509.KeyUsage:
    names = inspect.signature(x509.KeyUsage).parameters
    return x509.KeyUsage(**{name: true.get(name, False) for name in names})


def _hashed(octets: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
    digest = hashes.Hash(algorithm)
    digest.update(octets)
    return digest.finalize()


def _key_octets(issuer: x509.Certificate) -> bytes:
    """By another way than the service's: for a curve, the BIT STRING is the point."""
    return issuer.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def published_crl(issuer: str, shard: int, number: int, since: datetime, until: datetime, der: bytes) -> PublishedCrl:
    """A list as it is served."""
    return PublishedCrl(issuer, shard, number, since, until, revision=1, entries=0, der=der)
