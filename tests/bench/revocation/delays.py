"""How long after the 200 of a revocation everybody knows: the last responder's answer, and the last one's CRL.

Every responder was asked about the certificate before, so each has "good" in its cache. After the 200
each is asked again, one after another without a pause, until the last says "revoked"; then each is
asked for its CRL in the same way until it lists the serial. All of it while others ask too.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from cryptography.x509 import ocsp

from tests.bench.generator import Generator
from tests.bench.measure import Say
from tests.bench.revocation.load import background
from tests.bench.revocation.plan import Plan
from tests.bench.revocation.questions import questions
from tests.bench.revocation.responders import Responder
from tests.bench.revocation.site import Site

_PATIENCE = 300.0
_REQUEST = {"Content-Type": "application/ocsp-request"}


class Witness:
    """One connection to each responder, kept."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._connections = [_connection(one) for one in site.responders]

    def seen(self, serial: bytes, since: float) -> float:
        """Seconds from then (monotonic) until each says that it is revoked."""
        [question] = questions(self._site.issuer, [serial])
        return self._all(since, lambda one: _status(one, question) is ocsp.OCSPCertStatus.REVOKED)

    def listed(self, serial: bytes, since: float) -> float:
        """Seconds from then until it is in each one's CRL."""
        return self._all(since, lambda one: serial in _get(one, self._site.crl_path))

    def expect_good(self, serial: bytes) -> None:
        """Puts the answer into each cache. Raises `RuntimeError` where it is not "good"."""
        [question] = questions(self._site.issuer, [serial])
        if any(_status(one, question) is not ocsp.OCSPCertStatus.GOOD for one in self._connections):
            raise RuntimeError(f"{serial.hex()} is not good before it is revoked")

    def _all(self, since: float, is_so: Callable[[http.client.HTTPConnection], bool]) -> float:
        waited_for = self._connections
        while waited_for := [one for one in waited_for if not is_so(one)]:
            if time.monotonic() - since > _PATIENCE:
                raise RuntimeError(f"{len(waited_for)} responders do not know after {_PATIENCE:.0f} seconds")
        return time.monotonic() - since


def measure(site: Site, plan: Plan, generator: Generator, say: Say) -> dict[str, Any]:
    """Seconds for each probe, and what became of those who asked meanwhile."""
    say(f"delays: {site.place.database}, responders: {site.place.responders}, {plan.probes} revocations")
    known, probes = site.take(plan.known), site.take(plan.probes)
    witness = Witness(site)
    seen, listed = [], []
    with site.ours.operator() as operator, background(site, plan, generator, known) as load:
        for serial in probes:
            witness.expect_good(serial)
            answer = operator.post(f"/v1/certificates/{serial.hex()}/revoke", json={"reason": "superseded"})
            since = time.monotonic()
            answer.raise_for_status()
            seen.append(witness.seen(serial, since))
            listed.append(witness.listed(serial, since))
    return {
        "database": site.place.database,
        "responders": site.place.responders,
        "seen": seen,
        "listed": listed,
        "load": load.told(),
    }


def _connection(responder: Responder) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(responder.url).netloc, timeout=_PATIENCE)


def _status(connection: http.client.HTTPConnection, question: bytes) -> ocsp.OCSPCertStatus:
    connection.request("POST", "/ocsp", question, _REQUEST)
    return ocsp.load_der_ocsp_response(connection.getresponse().read()).certificate_status


def _get(connection: http.client.HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    return connection.getresponse().read()
