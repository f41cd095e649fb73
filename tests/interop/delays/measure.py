"""From the 200 of the revocation to the first refusal, for each client, against one running service."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.interop.delays.client import Aftermath, Agent, Client, Trust, trust
from tests.interop.delays.commands import Certtool, NssCrl, NssOcsp, Ocsptool, OpensslCrl, OpensslOcsp
from tests.interop.delays.go import GoCrl, GoOcsp
from tests.interop.delays.haproxy import Haproxy, HaproxyWithoutResumption
from tests.interop.delays.java import JavaCrl, JavaOcsp
from tests.interop.delays.nginx import VALIDITY, NginxCrl, NginxOcsp, NginxOcspCache
from tests.interop.delays.python import PythonOcsp
from tests.interop.delays.stunnel import Stunnel, StunnelWithoutResumption
from tests.interop.subject import subject
from tests.world import World, key_and_csr

CLIENTS: list[type[Client]] = [
    OpensslCrl,
    OpensslOcsp,
    Certtool,
    Ocsptool,
    NssCrl,
    NssOcsp,
    JavaCrl,
    JavaOcsp,
    GoCrl,
    GoOcsp,
    PythonOcsp,
    NginxOcsp,
    NginxOcspCache,
    NginxCrl,
    Haproxy,
    HaproxyWithoutResumption,
    Stunnel,
    StunnelWithoutResumption,
]

SETTINGS = {"REMIT_STATUS__OCSP_VALIDITY": f"{VALIDITY}s"}
"""Of the world to measure in."""

GRACE = 5.0
"""Seconds beyond its bound after which a client that still accepts is believed to do so for ever."""

_PATIENT = 5.0
_FIRST_SECONDS = 30.0


@dataclass(frozen=True)
class Delay:
    """Seconds from the answer of the revocation to the end of the first check that refused, and of that check."""

    client: type[Client]
    seconds: float
    check: float
    aftermath: Aftermath


@contextmanager
def measuring(
    world: World, folder: Path, clients: Sequence[type[Client]] = CLIENTS
) -> Iterator[dict[type[Client], Future[Delay]]]:
    """Measures clients: those that refuse at once one after the other, the patient ones beside them."""
    with ThreadPoolExecutor(1) as one_by_one, ThreadPoolExecutor(len(clients)) as beside:
        yield {
            client: (beside if client.seconds > _PATIENT else one_by_one).submit(measure, world, folder, client)
            for client in clients
        }


def measure(world: World, folder: Path, kind: type[Client]) -> Delay:
    """The delay of one client. Raises `Missing`, and AssertionError if the client does not go along."""
    agent, known = _enrol(world, folder / kind.__name__)
    client = kind(agent, known)
    with client.ends:
        client.prepare()
        _wait(client.accepts, _FIRST_SECONDS, kind)
        with world.operator() as operator:
            serial = f"{agent.subject.certificate.serial_number:038x}"
            answer = operator.post(f"/v1/certificates/{serial}/revoke", json={"reason": "keyCompromise"})
        revoked = time.monotonic()
        assert answer.status_code == 200, answer.text
        check = _wait(lambda: not client.accepts(), kind.seconds + GRACE, kind)
        return Delay(kind, time.monotonic() - revoked, check, client.aftermath())


def _wait(happens: Callable[[], bool], seconds: float, kind: type[Client]) -> float:
    """Asks again and again; returns how long it took to ask the last time."""
    deadline = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        if happens():
            return time.monotonic() - began
        assert time.monotonic() < deadline, f"{kind.__name__} does not change its mind in {seconds} s"
        time.sleep(kind.pause)


def _enrol(world: World, folder: Path) -> tuple[Agent, Trust]:
    folder.mkdir()
    key, csr = key_and_csr()
    answer = world.post_csr(world.token(world.new_agent()), csr)
    assert answer.status_code == 201, answer.text
    chain = x509.load_pem_x509_certificates(answer.json()["chain"].encode())
    file = folder / "agent.key"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    known = trust(folder, world.root_pem, chain[1], world.status_url)
    return Agent(folder, subject(folder / "certificates", chain), file), known
