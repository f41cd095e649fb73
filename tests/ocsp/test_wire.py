"""Requests that came before, over a real socket: the same answer as ever, and only while it is the right one."""

from __future__ import annotations

import socket
import threading
import time
from base64 import b64encode
from collections.abc import Iterator

import pytest
import uvicorn
from cryptography.x509 import ReasonFlags, ocsp

from ca import listening
from ca.store.status import Revoked
from ocsp.wire import StatusProtocol, Wire
from tests.ocsp.house import GOOD, NONCE, REVOKED, House, question


class Service:
    """A house behind a port. The clock, the database and the signer are the test's; the parser and sockets are real."""

    def __init__(self) -> None:
        self.house = House()
        self.wire = Wire(self.house.view, self.house.cache, self.house.metrics, self.house.clock)
        self.hits = 0
        genuine = self.wire.answer

        def counted(octets: bytes) -> bytes | None:
            found = genuine(octets)
            self.hits += found is not None
            return found

        self.wire.answer = counted  # type: ignore[method-assign] # counted on its way

        class Protocol(StatusProtocol):
            wire = self.wire

        bound = listening.listener("127.0.0.1", 0)
        self.address = bound.getsockname()
        self._server = listening.PatientServer(
            uvicorn.Config(
                self.house.app,
                http=Protocol,
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                date_header=False,
                timeout_keep_alive=1,
            )
        )
        self._thread = threading.Thread(target=self._server.run, args=([bound],))
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=10)


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.close()


def get(der: bytes, *fields: str) -> bytes:
    lines = [f"GET /ocsp/{b64encode(der).decode()} HTTP/1.1", "Host: x", *fields, "", ""]
    return "\r\n".join(lines).encode()


def post(der: bytes, *fields: str) -> bytes:
    lines = ["POST /ocsp HTTP/1.1", "Host: x", f"Content-Length: {len(der)}", *fields, "", ""]
    return "\r\n".join(lines).encode() + der


def answer(connection: socket.socket) -> tuple[bytes, bytes]:
    """Head and body of one response."""
    octets = b""
    while b"\r\n\r\n" not in octets:
        more = connection.recv(65536)
        assert more
        octets += more
    head, _, body = octets.partition(b"\r\n\r\n")
    [length] = [int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")] or [0]
    while len(body) < length:
        body += connection.recv(65536)
    assert len(body) == length
    return head, body


def ask(connection: socket.socket, octets: bytes) -> tuple[bytes, bytes]:
    connection.sendall(octets)
    return answer(connection)


def status(body: bytes) -> str:
    return ocsp.load_der_ocsp_response(body).certificate_status.name


@pytest.mark.parametrize("form", [get, post])
def test_the_same_octets_get_the_same_response_without_the_parser(service: Service, form: object) -> None:
    octets = form(question(service.house.issuing, GOOD))  # type: ignore[operator] # one of two functions
    with service.connect() as connection:
        responses = [ask(connection, octets) for _ in range(4)]
    with service.connect() as other:
        responses.append(ask(other, octets))
    assert len(set(responses)) == 1
    assert responses[0][0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert status(responses[0][1]) == "GOOD"
    # The first was signed and remembered at once.
    assert service.hits == 4
    assert service.house.outcomes() == {"signed": 1, "cached": 4}


def test_a_revocation_is_in_the_next_answer(service: Service) -> None:
    octets = post(question(service.house.issuing, GOOD))
    with service.connect() as connection:
        for _ in range(3):
            assert status(ask(connection, octets)[1]) == "GOOD"
        service.house.shelf.rows["issuing-1", GOOD] = Revoked(service.house.now, ReasonFlags.superseded)
        service.house.view.generation += 1
        assert status(ask(connection, octets)[1]) == "REVOKED"
        assert status(ask(connection, octets)[1]) == "REVOKED"


def test_past_its_renewal_it_is_made_anew_and_its_age_is_in_the_header(service: Service) -> None:
    octets = get(question(service.house.issuing, GOOD))
    with service.connect() as connection:
        assert b"max-age=60," in ask(connection, octets)[0]
        service.house.later(seconds=29)
        assert b"max-age=31," in ask(connection, octets)[0]
        assert service.hits == 1
        service.house.later(seconds=1)
        assert b"max-age=60," in ask(connection, octets)[0]
        assert service.hits == 1


def test_what_no_cache_holds_is_never_remembered(service: Service) -> None:
    octets = post(question(service.house.issuing, GOOD, nonce=NONCE))
    with service.connect() as connection:
        bodies = {ask(connection, octets)[1] for _ in range(3)}
    assert service.hits == 0
    assert len(bodies) == 3


def test_conditions_and_ends_of_connections_are_the_applications(service: Service) -> None:
    der = question(service.house.issuing, GOOD)
    with service.connect() as connection:
        head, _ = ask(connection, get(der))
        [etag] = [line[6:].decode() for line in head.split(b"\r\n") if line.startswith(b"etag: ")]
        for _ in range(3):
            assert ask(connection, get(der, f"If-None-Match: {etag}"))[0].startswith(b"HTTP/1.1 304")
    for octets in (get(der, "Connection: close"), get(der).replace(b"HTTP/1.1", b"HTTP/1.0")):
        for _ in range(3):
            with service.connect() as connection:
                assert status(ask(connection, octets)[1]) == "GOOD"
                assert connection.recv(1) == b"", "closed, as was asked"
    assert service.hits == 0


def test_requests_in_one_piece_are_answered_in_their_order(service: Service) -> None:
    one, other = (get(question(service.house.issuing, serial)) for serial in (GOOD, REVOKED))
    with service.connect() as connection:
        for _ in range(3):
            assert status(ask(connection, one)[1]) == "GOOD"
            connection.sendall(other + one + other)
            pieces = b""
            while pieces.count(b"HTTP/1.1 200 OK") < 3 or not _is_whole(pieces):
                pieces += connection.recv(65536)
            assert [status(body) for body in _bodies(pieces)] == ["REVOKED", "GOOD", "REVOKED"]


def test_a_request_in_two_pieces_is_not_taken_for_what_its_second_piece_looks_like(service: Service) -> None:
    """The body of a POST may be, octet for octet, a request that came before."""
    inner = get(question(service.house.issuing, GOOD))
    with service.connect() as connection:
        ask(connection, inner)
        ask(connection, inner)
        assert service.hits == 1
        head = b"POST /ocsp HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(inner)
        connection.sendall(head)
        time.sleep(0.1)
        _, body = ask(connection, inner)
        assert ocsp.load_der_ocsp_response(body).response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST
        assert service.hits == 1


def test_one_who_is_silent_is_ended_though_the_parser_never_saw_him(service: Service) -> None:
    octets = get(question(service.house.issuing, GOOD))
    with service.connect() as connection:
        ask(connection, octets)
    with service.connect() as connection:
        for _ in range(4):
            time.sleep(0.4)
            assert status(ask(connection, octets)[1]) == "GOOD"
        assert connection.recv(1) == b"", "after a second of silence"
    assert service.hits == 4


def test_no_more_requests_are_remembered_than_may_be(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocsp.wire._REQUESTS", 2)
    der = question(service.house.issuing, GOOD)
    with service.connect() as connection:
        for number in range(5):
            ask(connection, get(der, f"User-Agent: {number}"))
        ask(connection, get(der, f"User-Agent: {'x' * 1024}"))
    assert len(service.wire._questions) == 2


def _bodies(octets: bytes) -> list[bytes]:
    found = []
    while octets:
        head, _, rest = octets.partition(b"\r\n\r\n")
        [length] = [int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")] or [0]
        found.append(rest[:length])
        if len(rest) < length:
            return []
        octets = rest[length:]
    return found


def _is_whole(octets: bytes) -> bool:
    return len(_bodies(octets)) == 3
