from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from ca.proofs import fetch
from ca.proofs.addresses import Inside
from ca.proofs.fetch import Fetcher, NotFetched
from tests.ca.proofs.issuer import Answer, Certified, Issuer, certified, running

LOOPBACK = Inside.parse(["issuer.test"])


class Names:
    """A resolver that says what a test wants, and remembers who asked. Each answer may differ from the last."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def context(tls: Certified) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=tls.root)


def fetched(url: str, fetcher: Fetcher, bearer: str | None = None) -> dict[str, Any]:
    return asyncio.run(fetcher.fetch(url, bearer))


def refusal(url: str, fetcher: Fetcher) -> str:
    with pytest.raises(NotFetched) as caught:
        fetched(url, fetcher)
    return str(caught.value)


def test_a_document_is_fetched_from_the_very_address_under_the_name(issuer: Issuer, tls: Certified) -> None:
    names = Names(["127.0.0.1"])
    document = fetched(f"{issuer.url}/jwks", Fetcher(context(tls), LOOPBACK, names), "secret")
    assert set(document) == {"keys"}
    assert names.asked == [("issuer.test", issuer.port)]
    [(path, headers)] = issuer.asked
    assert path == "/jwks"
    assert headers["host"] == f"issuer.test:{issuer.port}"
    assert headers["authorization"] == "Bearer secret"
    assert headers["accept-encoding"] == "identity"


def test_an_address_in_the_url_needs_no_resolver(tls: Certified) -> None:
    with running(Issuer(tls, "127.0.0.1")) as issuer:
        names = Names(["192.0.2.1"])
        assert fetched(f"{issuer.url}/jwks", Fetcher(context(tls), Inside.parse(["127.0.0.0/8"]), names))
        assert names.asked == []


def test_the_machines_resolver_is_asked_by_default(tls: Certified) -> None:
    with running(Issuer(tls, "localhost")) as issuer:
        assert fetched(f"{issuer.url}/jwks", Fetcher(context(tls), Inside.parse(["localhost"])))


def test_no_proxy_of_the_environment_is_used(issuer: Issuer, tls: Certified, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        assert fetched(f"{issuer.url}/jwks", Fetcher(context(tls), LOOPBACK, Names(["127.0.0.1"])))
        assert not _was_knocked_at(proxy)


def test_the_next_address_is_tried_when_one_cannot_be_reached(issuer: Issuer, tls: Certified) -> None:
    with socket.create_server(("127.0.0.2", 0)) as closed:
        closed.close()
        assert fetched(f"{issuer.url}/jwks", Fetcher(context(tls), LOOPBACK, Names(["127.0.0.2", "127.0.0.1"])))


def test_one_forbidden_address_condemns_the_name(issuer: Issuer, tls: Certified) -> None:
    inside = Inside.parse(["127.0.0.1"])
    assert "169.254.169.254" in refusal(
        f"{issuer.url}/jwks", Fetcher(context(tls), inside, Names(["127.0.0.1", "169.254.169.254"]))
    )
    assert issuer.connections == 0


def test_a_name_that_changes_its_address_is_asked_once(issuer: Issuer, tls: Certified) -> None:
    """Case 35, rebinding: what was checked is what is connected to, whatever the name says a moment later."""
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    assert fetched(f"{issuer.url}/jwks", Fetcher(context(tls), Inside.parse(["127.0.0.1"]), names))
    assert len(names.asked) == 1
    assert issuer.connections == 1
    # Once it points inside, it is asked no more.
    assert "169.254.169.254" in refusal(f"{issuer.url}/jwks", Fetcher(context(tls), Inside.parse(["127.0.0.1"]), names))
    assert issuer.connections == 1


FORBIDDEN = [
    "127.0.0.1",
    "169.254.169.254",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "::1",
    "0.0.0.0",
    "10.0.0.1",
    "fe80::1",
    "fe80::1%lo",
    "224.0.0.1",
    "not an address",
]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_no_connection_is_made_to_a_forbidden_address(
    issuer: Issuer, tls: Certified, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = _watched(monkeypatch)
    assert "may not be fetched" in refusal(f"{issuer.url}/jwks", Fetcher(context(tls), Inside(), Names([address])))
    assert (issuer.connections, opened) == (0, [])


def test_the_watch_would_see_a_connection(issuer: Issuer, tls: Certified, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = _watched(monkeypatch)
    assert "cannot be fetched" in refusal(f"{issuer.url}/jwks", _reaching(tls))
    assert len(opened) == 1


def test_a_name_without_an_address_is_refused(issuer: Issuer, tls: Certified) -> None:
    assert "no address" in refusal(f"{issuer.url}/jwks", Fetcher(context(tls), LOOPBACK, Names([])))


@pytest.mark.parametrize(
    "url", ["https://ok@127.0.0.1/", "http://127.0.0.1/", "https://127.1/", "https://[::ffff:127.0.0.1]/"]
)
def test_no_name_is_resolved_for_a_url_that_is_not_plain(
    tls: Certified, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, names = _watched(monkeypatch), Names(["127.0.0.1"])
    assert "may not be fetched" in refusal(url, Fetcher(context(tls), Inside.parse(["127.0.0.0/8", "::/0"]), names))
    assert (names.asked, opened) == ([], [])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(issuer: Issuer, tls: Certified, status: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        there = f"https://127.0.0.1:{elsewhere.getsockname()[1]}/"
        issuer.answers["/jwks"] = Answer({}, status, {"Content-Type": "application/json", "Location": there})
        assert f"answers {status}" in refusal(f"{issuer.url}/jwks", _reaching(tls))
        assert issuer.paths() == ["/jwks"]
        assert not _was_knocked_at(elsewhere)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer({}, 404), "answers 404"),
        (Answer({}, 500), "answers 500"),
        (Answer({}, 204), "answers 204"),
        (Answer(b"<html>", headers={"Content-Type": "text/html"}), "other than JSON"),
        (Answer(b"{}", headers={"Content-Type": "text/plain"}), "other than JSON"),
        (Answer(b"{}", headers={}), "other than JSON"),
        (Answer(b""), "read one way"),
        (Answer(b"[]"), "read one way"),
        (Answer(b"null"), "read one way"),
        (Answer(b'{"a": NaN}'), "read one way"),
        (Answer(b'{"issuer": "a", "issuer": "b"}'), "read one way"),
        (Answer(b'{"a": {"b": 1, "b": 2}}'), "read one way"),
        (Answer(b"\xff\xfe{}"), "read one way"),
        (Answer(b'{"a":' * 20000 + b"1" + b"}" * 20000), "read one way"),
        (Answer(b'{"a":' + b"9" * 5000 + b"}"), "read one way"),
        (Answer(b'{"a":"' + b"x" * fetch.MAX_OCTETS + b'"}'), "more than 131072 octets"),
        (
            Answer(gzip.compress(b"{}"), headers={"Content-Type": "application/json", "Content-Encoding": "gzip"}),
            "compressed",
        ),
    ],
)
def test_another_content_is_refused(issuer: Issuer, tls: Certified, answer: Answer, why: str) -> None:
    issuer.answers["/jwks"] = answer
    assert why in refusal(f"{issuer.url}/jwks", _reaching(tls))


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/jwk-set+json", "Application/JSON"])
def test_json_by_its_names(issuer: Issuer, tls: Certified, kind: str) -> None:
    """Kubernetes serves its keys as application/jwk-set+json."""
    issuer.answers["/jwks"] = Answer({"keys": []}, headers={"Content-Type": kind})
    assert fetched(f"{issuer.url}/jwks", _reaching(tls)) == {"keys": []}


def _endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for _ in range(10_000):
        handler.wfile.write(b"400\r\n" + b" " * 1024 + b"\r\n")


def test_an_endless_answer_is_cut(issuer: Issuer, tls: Certified) -> None:
    issuer.answers["/jwks"] = Answer(write=_endless)
    assert "more than" in refusal(f"{issuer.url}/jwks", _reaching(tls))


def _slow(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.rfile.read(1)  # until the other side hangs up


def test_a_slow_answer_is_not_waited_for(issuer: Issuer, tls: Certified) -> None:
    issuer.answers["/jwks"] = Answer(write=_slow)
    fetcher = Fetcher(context(tls), LOOPBACK, Names(["127.0.0.1"]), total=0.3)
    assert "longer than 0.3 s" in refusal(f"{issuer.url}/jwks", fetcher)


def test_a_slow_resolver_is_not_waited_for(tls: Certified) -> None:
    async def never(_host: str, _port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        raise AssertionError

    assert "longer than" in refusal("https://issuer.test/", Fetcher(context(tls), LOOPBACK, never, total=0.1))


def test_a_name_that_does_not_resolve_is_said(tls: Certified) -> None:
    async def unknown(_host: str, _port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    assert "Name or service not known" in refusal("https://issuer.test/", Fetcher(context(tls), LOOPBACK, unknown))


def test_nobody_there_is_said(tls: Certified) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert "cannot be fetched" in refusal(f"https://issuer.test:{port}/", _reaching(tls))


def test_the_certificate_must_be_the_names(tls: Certified, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = certified(tmp_path_factory.mktemp("other"), "other.test", "127.0.0.1")
    with running(Issuer(other)) as issuer:
        assert "cannot be fetched" in refusal(f"{issuer.url}/jwks", _reaching(other))
        assert "cannot be fetched" in refusal(f"{issuer.url}/jwks", _reaching(tls))
        assert issuer.asked == []


def test_the_systems_roots_alone_know_nothing_of_ours(issuer: Issuer) -> None:
    fetcher = Fetcher(ssl.create_default_context(), LOOPBACK, Names(["127.0.0.1"]))
    assert "cannot be fetched" in refusal(f"{issuer.url}/jwks", fetcher)


def _reaching(tls: Certified) -> Fetcher:
    return Fetcher(context(tls), LOOPBACK, Names(["127.0.0.1"]))


def _watched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Whatever the event loop would connect to."""
    opened: list[Any] = []

    async def connect(*arguments: Any, **_named: Any) -> None:
        opened.append(arguments)
        raise OSError("no connection was to be made")

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", connect)
    monkeypatch.setattr(asyncio.selector_events.BaseSelectorEventLoop, "sock_connect", connect)
    return opened


def _was_knocked_at(listening: socket.socket) -> bool:
    listening.setblocking(False)
    try:
        listening.accept()[0].close()
    except BlockingIOError:
        return False
    return True
