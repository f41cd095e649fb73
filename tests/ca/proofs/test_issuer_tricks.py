"""Case 35: no packet leaves for an issuer's URL that is a trick, a redirect, a name that changes, or an address inside.

The parts are put together from settings as the server does it. The machine's resolver is replaced, every connection
of the event loop is watched, and a listening socket stands where a packet would go.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from ca import assembly
from ca.config import Misconfigured, Proofs, Settings
from ca.proofs.providers import Providers
from ca.refusals import Reason, Refused
from tests.ca.proofs.house import CSR_KEY, ISSUER
from tests.ca.proofs.issuer import AUDIENCE, DISCOVERY, NOW, Answer, Certified, Issuer, claims, signed

METADATA = "169.254.169.254"


class Network:
    """What the machine's resolver says of each name, and where the event loop connects to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: dict[str, list[Sequence[str]]] = {}
        self.resolved: list[str] = []
        self.connected: list[str] = []
        connect = asyncio.BaseEventLoop.create_connection

        def getaddrinfo(host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
            name = host.decode() if isinstance(host, bytes) else host
            self.resolved.append(name)
            answers = self.names.get(name)
            if answers is None:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            found = answers.pop(0) if len(answers) > 1 else answers[0]
            return [
                (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
                for one in found
            ]

        async def create_connection(loop: Any, protocol: Any, host: Any = None, port: Any = None, **named: Any) -> Any:
            self.connected.append(host)
            return await connect(loop, protocol, host, port, **named)

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", create_connection)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return Network(monkeypatch)


@pytest.fixture
def trap() -> Iterator[socket.socket]:
    """Nobody may knock here."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()


def providers(**section: Any) -> Providers:
    """One issuer, as it is configured."""
    proofs = Proofs.model_validate({"oidc": {"house": {"audience": AUDIENCE, **section}}})
    return assembly.providers(Settings(proofs=proofs))


def refusal(made: Providers, token: str) -> Reason:
    with pytest.raises(Refused) as caught:
        asyncio.run(made.attest(token, CSR_KEY, NOW))
    return caught.value.reason


def reaching(there: Issuer, tls: Certified, **section: Any) -> Providers:
    """That issuer, and nothing else of the inside."""
    return providers(**{"issuer": there.url, "ca_file": str(tls.root), "private": ["127.0.0.1"], **section})


def test_the_watch_sees_what_is_sent(issuer: Issuer, tls: Certified, network: Network) -> None:
    network.names["issuer.test"] = [["127.0.0.1"]]
    made = reaching(issuer, tls)
    assert asyncio.run(made.attest(signed(claims(issuer.url)), CSR_KEY, NOW)).subject == "planner"
    assert network.resolved == ["issuer.test", "issuer.test"]
    assert network.connected == ["127.0.0.1", "127.0.0.1"]
    assert issuer.paths() == [DISCOVERY, "/jwks"]


TRICKS = [
    "https://ok.example@evil.example",
    "https://ok.example:x@evil.example",
    "https://evil.example#ok.example",
    "https://evil.example\\@ok.example",
    "https://evil.example?ok.example",
    "https://ok.example/../evil",
    "http://ok.example",
    "//ok.example",
    "ok.example",
    "https://OK.example",
    "https://2852039166",
    "https://0xa9fea9fe",
    "https://0251.0376.0251.0376",
    "https://169.254.43518",
    "https://[::FFFF:169.254.169.254]",
    "https://[fe80::1%25eth0]",
]


@pytest.mark.parametrize("url", TRICKS)
@pytest.mark.parametrize("setting", ["issuer", "jwks_uri"])
def test_case_35_a_trick_is_not_configured(url: str, setting: str) -> None:
    if (url, setting) == ("https://evil.example?ok.example", "jwks_uri"):
        return  # a query is a jwks_uri's own affair
    with pytest.raises(Misconfigured, match=rf"proofs\.oidc\.house\.{setting} is wrong"):
        providers(**{"issuer": "https://ok.example", setting: url})


@pytest.mark.parametrize(
    "url", [*TRICKS, "https://ok.example.evil.example", "https://evil.example", "https://ok.example/"]
)
def test_case_35_a_token_that_names_another_issuer_sends_nothing(url: str, network: Network) -> None:
    made = providers(issuer="https://ok.example")
    assert refusal(made, signed(claims(url))) is Reason.TOKEN_INVALID
    assert refusal(made, signed(claims(url), header={"jku": url})) is Reason.TOKEN_INVALID
    assert (network.resolved, network.connected) == ([], [])


ADDRESSES = [
    METADATA,
    "::ffff:169.254.169.254",
    "::ffff:127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "fd00:ec2::254",
    "127.0.0.1",
    "::1",
    "10.0.0.1",
    "0.0.0.0",
    "fe80::1%1",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_case_35_a_name_that_leads_inside_sends_nothing(address: str, network: Network) -> None:
    """Whether alone, or hidden behind an address outside."""
    for answer in ([address], ["93.184.216.34", address]):
        network.names["ok.example"] = [answer]
        assert (
            refusal(providers(issuer="https://ok.example"), signed(claims("https://ok.example"))) is Reason.UNAVAILABLE
        )
    assert network.connected == []


@pytest.mark.parametrize("host", [METADATA, "[::ffff:a9fe:a9fe]", "127.0.0.1", "[::1]", "10.0.0.1"])
def test_case_35_an_address_inside_sends_nothing(host: str, network: Network) -> None:
    for section in ({"issuer": f"https://{host}"}, {"issuer": ISSUER, "jwks_uri": f"https://{host}/jwks"}):
        made = providers(**section)
        assert refusal(made, signed(claims(section["issuer"]))) is Reason.UNAVAILABLE
    assert (network.resolved, network.connected) == ([], [])


def test_case_35_a_name_that_changes_between_check_and_use(
    issuer: Issuer, tls: Certified, network: Network, trap: socket.socket
) -> None:
    """Rebinding: each document's name is resolved once, and the checked address is the one connected to."""
    network.names["issuer.test"] = [["127.0.0.1"], [METADATA]]
    assert refusal(reaching(issuer, tls), signed(claims(issuer.url))) is Reason.UNAVAILABLE
    assert network.connected == ["127.0.0.1"], "the metadata; its jwks_uri leads inside by then"
    assert issuer.paths() == [DISCOVERY]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("path", [DISCOVERY, "/jwks"])
def test_case_35_a_redirect_is_not_followed(
    issuer: Issuer, tls: Certified, network: Network, trap: socket.socket, status: int, path: str
) -> None:
    network.names["issuer.test"] = [["127.0.0.1"]]
    there = f"https://127.0.0.1:{trap.getsockname()[1]}/latest/meta-data"
    issuer.answers[path] = Answer(b"{}", status, {"Content-Type": "application/json", "Location": there})
    assert refusal(reaching(issuer, tls), signed(claims(issuer.url))) is Reason.UNAVAILABLE
    assert issuer.paths()[-1] == path
    assert set(network.connected) == {"127.0.0.1"}
    assert set(network.resolved) == {"issuer.test"}


@pytest.mark.parametrize(
    "uri",
    [
        "https://ok@127.0.0.2:{port}/jwks",
        "https://127.0.0.2:{port}/jwks",
        "https://127.2:{port}/jwks",
        "https://[::ffff:127.0.0.2]:{port}/jwks",
        "https://[::ffff:7f00:2]:{port}/jwks",
        "https://inside.test:{port}/jwks",
        "http://127.0.0.1:{port}/jwks",
        f"https://{METADATA}/latest/meta-data",
        "file:///etc/passwd",
    ],
)
def test_case_35_a_jwks_uri_that_is_a_trick_sends_nothing(
    issuer: Issuer, tls: Certified, network: Network, trap: socket.socket, uri: str
) -> None:
    network.names |= {"issuer.test": [["127.0.0.1"]], "inside.test": [["127.0.0.2"]]}
    issuer.publish(jwks_uri=uri.format(port=trap.getsockname()[1]))
    assert refusal(reaching(issuer, tls), signed(claims(issuer.url))) is Reason.UNAVAILABLE
    assert network.connected == ["127.0.0.1"]
    assert issuer.paths() == [DISCOVERY]


def test_case_35_the_name_on_the_certificate_is_the_issuers(issuer: Issuer, tls: Certified, network: Network) -> None:
    """Whoever answers at the address of a name must still be that name."""
    network.names["other.test"] = [["127.0.0.1"]]
    other = issuer.url.replace("issuer.test", "other.test")
    assert refusal(reaching(issuer, tls, issuer=other), signed(claims(other))) is Reason.UNAVAILABLE
    assert issuer.asked == []
