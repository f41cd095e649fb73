"""The gateways before a real CA: who passes, what is forged, a revocation under way, and a CA that does not answer."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from ca.identifiers import Thumbprint
from tests.ca.proofs.issuer import certified
from tests.holder import Holder, held
from tests.interop.gateway import backend, proxies
from tests.interop.gateway.backend import Backend
from tests.interop.gateway.proxies import HOST, KINDS, NAME, Kind, Site
from tests.world import World, free_port, key_and_csr

pytestmark = pytest.mark.slow

RESOURCE = "https://mcp.example.com/mcp"
DETAILS = [{"type": "mcp", "locations": [RESOURCE], "actions": ["tools/call"], "datatypes": ["read_file"]}]
READ = {"Mcp-Method": "tools/call", "Mcp-Name": "read_file"}
CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_file"}}'
TOLD = ("id", "client-id", "x5t-s256", "task", "scope", "act", "exp")
CERTIFICATES = ("client-cert", "x-ssl-client-cert", "x-forwarded-client-cert")
RECOVERY = 10.0
"""Seconds within which a gateway finds its way back by itself."""


@dataclass(frozen=True)
class Gateway:
    """A proxy that runs, the CA that it asks, and the server that it guards."""

    name: str
    kind: Kind
    world: World
    backend: Backend
    site: Site

    def client(self, agent: Holder | None) -> httpx2.Client:
        context = ssl.create_default_context(cafile=str(self.site.tls.root))
        if agent is not None:
            context.load_cert_chain(agent.directory / "tls.crt", agent.directory / "tls.key")
        return httpx2.Client(base_url=f"https://{NAME}:{self.site.port}", verify=context, timeout=30, trust_env=False)

    def call(self, agent: Holder | None, fields: Any = (), path: str = "/mcp") -> httpx2.Response:
        with self.client(agent) as client:
            lines = [*READ.items(), *(fields.items() if isinstance(fields, dict) else fields)]
            return client.post(path, headers=lines, content=CALL)

    def asked_directly(self, fields: dict[str, str]) -> httpx2.Response:
        """What the CA's own listener would say to whoever reached it."""
        with httpx2.Client(trust_env=False) as client:
            return client.get(f"http://{HOST}:{self.site.gate}/v1/as/authz", headers={**READ, **fields})


@pytest.fixture(scope="module", params=KINDS)
def gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    kind, gate = KINDS[request.param], free_port()
    folder = tmp_path_factory.mktemp(request.param)
    site = proxies.site(folder, folder / "agents-ca.pem", gate, 0)
    kind.command(site)  # or skips, before anything is made
    settings = {
        "REMIT_GATEWAY__LISTEN": f"{HOST}:{gate}",
        "REMIT_GATEWAY__CERTIFICATE_HEADER": kind.header,
        "REMIT_GATEWAY__CERTIFICATE_FORM": kind.form,
        "REMIT_GATEWAY__RESOURCE": RESOURCE,
    }
    world = World(folder, **settings).init().start()
    try:
        with world.client() as client, backend.running() as behind:
            site.agents.write_bytes(client.get("/ca/chain.pem").content)
            site = proxies.site(folder, site.agents, gate, behind.port)
            with proxies.running(site, kind.command(site)):
                yield Gateway(request.param, kind, world, behind, site)
    finally:
        world.stop()


@pytest.fixture
def agent(gateway: Gateway) -> Holder:
    return enrolled(gateway.world)


def enrolled(world: World, **task: Any) -> Holder:
    name = world.new_agent(scope="read write")
    opened = world.new_task(
        name, **{"scope": "read", "resources": [RESOURCE], "authorization_details": DETAILS, **task}
    )
    key, csr = key_and_csr()
    return held(world, key, world.post_csr(world.token(name, task=opened), csr))


def seen(answer: httpx2.Response) -> dict[str, list[str]]:
    """What the server behind was told, by the name of the header."""
    assert answer.status_code == 200, answer.text
    found: dict[str, list[str]] = {}
    for name, value in answer.json()["fields"]:
        found.setdefault(name, []).append(value)
    return found


def error(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.headers.get("x-agent-error", "")


def shown(agent: Holder) -> dict[str, str]:
    """A certificate in every header in which one was ever passed, as somebody forges it who has seen it."""
    pem = agent.answer["certificate"]
    der = ssl.PEM_cert_to_DER_cert(pem)
    plain = ssl.DER_cert_to_PEM_cert(der).replace("\n", "").removeprefix("-----BEGIN CERTIFICATE-----")
    escaped = quote(pem, safe="")
    return {
        "Client-Cert": f":{plain.removesuffix('-----END CERTIFICATE-----')}:",
        "X-SSL-Client-Cert": escaped,
        "X-Forwarded-Client-Cert": f'Hash={Thumbprint.of(der).hex};Cert="{escaped}"',
    }


def test_an_agent_passes_and_the_server_learns_who_it_is(gateway: Gateway, agent: Holder) -> None:
    answer = gateway.call(agent, path="/mcp?a=b")
    told = seen(answer)
    assert [told[f"x-agent-{name}"] for name in TOLD if name != "act"] == [
        [agent.answer["spiffe_id"]],
        [agent.answer["client_id"]],
        [agent.answer["x5t#S256"]],
        [agent.answer["task"]],
        ["read"],
        told["x-agent-exp"],
    ]
    assert (answer.json()["path"], answer.json()["octets"]) == ("/mcp?a=b", len(CALL))
    assert not set(CERTIFICATES) & told.keys(), "what the certificate says is for the CA"
    assert told["mcp-name"] == ["read_file"]


def test_without_a_certificate_nobody_passes(gateway: Gateway) -> None:
    before = gateway.backend.served
    answer = gateway.call(None)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == (
        'Bearer error="invalid_token", '
        'resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp"'
    )
    assert answer.headers["x-agent-error"] in ("certificate_missing", "certificate_malformed")
    assert gateway.backend.served == before


def test_what_the_resource_says_of_itself_is_for_everybody(gateway: Gateway, agent: Holder) -> None:
    path = "/.well-known/oauth-protected-resource/mcp"
    forged = {"X-Agent-Id": "spiffe://agents.example/agent/default/boss", **shown(agent)}
    with gateway.client(None) as client:
        answer = client.get(path, headers=forged)
        told = seen(answer)
        assert answer.json()["path"] == path
        assert not [name for name in told if name.startswith("x-agent-") and told[name] != [""]]
        assert not set(CERTIFICATES) & told.keys()
        before = gateway.backend.served
        for other in (
            f"{path}/../../../mcp",
            f"/mcp/..{path}",
            f"{path}%2f..%2f..%2fmcp",
            f"{path}x",
            "/.well-known/x",
        ):
            raw(gateway, f"GET {other} HTTP/1.1")
        client.post(path, content=b"x")
    # A proxy may take another spelling of the path for the path, and must then ask for the path.
    assert gateway.backend.served - before <= 1


def raw(gateway: Gateway, line: str) -> bytes:
    """The answer's head to a request line that no client would send."""
    context = ssl.create_default_context(cafile=str(gateway.site.tls.root))
    plain = socket.create_connection((HOST, gateway.site.port), 10)
    with context.wrap_socket(plain, server_hostname=NAME) as connection:
        connection.sendall(f"{line}\r\nHost: {NAME}:{gateway.site.port}\r\nConnection: close\r\n\r\n".encode())
        return connection.recv(65536)


def test_a_tool_that_the_task_does_not_have_is_refused(gateway: Gateway, agent: Holder) -> None:
    """Scenario 8 at the gateway: by the headers of MCP, without a look into the body."""
    with gateway.client(agent) as client:
        for fields in ({**READ, "Mcp-Name": "write_file"}, {"Mcp-Method": "tools/list"}, {}):
            assert error(client.post("/mcp", headers=fields, content=CALL)) == (403, "tool_out_of_scope")
        twice = client.post("/mcp", headers=[*READ.items(), ("Mcp-Name", "write_file")], content=CALL)
        assert twice.status_code in (400, 403)
    elsewhere = enrolled(gateway.world, resources=["https://other.example"])
    assert error(gateway.call(elsewhere)) == (403, "resource_exceeded")


def test_a_forged_certificate_never_reaches_the_decision(gateway: Gateway, agent: Holder) -> None:
    """Scenario 25."""
    victim, before = enrolled(gateway.world), gateway.backend.served
    forged = shown(victim)
    # What is forged is good: whoever reached the CA's own listener would pass by it.
    told = gateway.asked_directly({gateway.kind.header: forged[gateway.kind.header]})
    assert (told.status_code, told.headers["x-agent-task"]) == (200, victim.answer["task"])
    for fields in _spellings(forged):
        assert gateway.call(None, fields).status_code in (400, 401), fields
    assert gateway.backend.served == before
    for fields in _spellings(forged):
        answer = gateway.call(agent, fields)
        if answer.status_code != 400:
            told_behind = seen(answer)
            assert told_behind["x-agent-id"] == [agent.answer["spiffe_id"]]
            assert told_behind["x-agent-x5t-s256"] == [agent.answer["x5t#S256"]]
            assert not set(CERTIFICATES) & told_behind.keys()
    assert gateway.world.cli("revoke", agent.answer["serial"]).returncode == 0
    for fields in _spellings(forged):
        answer = gateway.call(agent, fields)
        assert answer.status_code == 400 or error(answer) == (403, "certificate_revoked")


def _spellings(forged: dict[str, str]) -> list[list[tuple[str, str]]]:
    """Each alone, all at once, twice, in other letters, and with underscores."""
    every = list(forged.items())
    return [
        *[[one] for one in every],
        every,
        [*every, *every],
        [(name.upper(), value) for name, value in every],
        [(name.lower(), value) for name, value in every],
        [(name.replace("-", "_"), value) for name, value in every],
        [("Connection", "close, client-cert, x-ssl-client-cert, x-forwarded-client-cert"), *every],
    ]


def test_what_the_server_is_told_cannot_be_forged(gateway: Gateway, agent: Holder) -> None:
    forged = "spiffe://agents.example/agent/default/boss"
    for spell in (str, str.upper, lambda name: name.replace("-", "_"), lambda name: name.replace("-", "_", 1)):
        fields = [(spell(f"X-Agent-{name.title()}"), forged) for name in TOLD] * 2
        answer = gateway.call(agent, fields)
        if answer.status_code == 400:
            continue  # a header with an underscore
        told = seen(answer)
        assert forged not in [value for values in told.values() for value in values], spell("X-Agent-Id")
        assert told["x-agent-id"] == [agent.answer["spiffe_id"]]


def test_another_authoritys_certificate_is_nobodys(gateway: Gateway, tmp_path: Path) -> None:
    """Of its own making, with a good agent's name in it: the handshake or the proxy ends it."""
    foreign = certified(tmp_path, "researcher")
    context = ssl.create_default_context(cafile=str(gateway.site.tls.root))
    context.load_cert_chain(foreign.chain, foreign.key)
    before = gateway.backend.served
    with httpx2.Client(verify=context, trust_env=False) as client:
        try:
            status = client.post(f"https://{NAME}:{gateway.site.port}/mcp", headers=READ, content=CALL).status_code
        except httpx2.TransportError:
            status = 0
    assert status in (0, 400, 401)
    assert gateway.backend.served == before


def test_a_revocation_ends_a_connection_that_is_open(gateway: Gateway, agent: Holder) -> None:
    """Scenario 9: the next request on the same connection, at once."""
    context = ssl.create_default_context(cafile=str(gateway.site.tls.root))
    context.load_cert_chain(agent.directory / "tls.crt", agent.directory / "tls.key")
    connection = http.client.HTTPSConnection(NAME, gateway.site.port, timeout=30, context=context)
    connection.connect()
    connection.auto_open = 0  # once closed it stays closed

    def ask() -> tuple[int, str]:
        connection.request("POST", "/mcp", body=CALL, headers=READ)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers.get("X-Agent-Error", "")

    with closing(connection):
        assert [ask() for _ in range(3)] == [(200, "")] * 3
        with gateway.world.operator() as operator:
            serial = agent.answer["serial"]
            assert operator.post(f"/v1/certificates/{serial}/hold").status_code == 200
            assert ask() == (403, "certificate_on_hold")
            assert operator.post(f"/v1/certificates/{serial}/release").status_code == 200
            assert ask() == (200, "")
            assert operator.post(f"/v1/certificates/{serial}/revoke", json={}).status_code == 200
            assert ask() == (403, "certificate_revoked")


def test_the_servers_own_refusals_are_handed_on(gateway: Gateway, agent: Holder) -> None:
    for status in (401, 403, 500):
        answer = gateway.call(agent, path=f"/status/{status}")
        assert answer.status_code == status
        assert answer.json()["path"] == f"/status/{status}"


# Scenario 26: a CA that is slow, away, or out of its mind.


def test_a_ca_that_is_slow_lets_nobody_in(gateway: Gateway, agent: Holder) -> None:
    server, _ = gateway.world.service_ids()
    before = gateway.backend.served
    os.kill(server, signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert gateway.call(agent).status_code in (502, 503, 504)
        assert time.monotonic() - began < 6
    finally:
        os.kill(server, signal.SIGCONT)
    assert gateway.backend.served == before
    recovered(gateway, agent)


def test_a_ca_that_is_away_lets_nobody_in(gateway: Gateway, agent: Holder) -> None:
    gateway.world.stop(signal.SIGKILL)
    before = gateway.backend.served
    try:
        for _ in range(2):
            assert gateway.call(agent).status_code in (502, 503, 504)
        assert gateway.backend.served == before
        for answer in ODD:
            with instead(gateway.site.gate, answer):
                refused = gateway.call(agent)
                assert refused.status_code >= 400, answer
                assert refused.status_code != 200
        with instead(gateway.site.gate, UNDECIDED):
            refused = gateway.call(agent)
            assert refused.status_code in (403, 503)
            assert refused.status_code == 503 or error(refused) == (403, "undecided")
        assert gateway.backend.served == before
    finally:
        gateway.world.start()
    recovered(gateway, agent)


UNDECIDED = b"HTTP/1.1 403 Forbidden\r\nX-Agent-Error: undecided\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
ODD = [
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 422 Unprocessable Content\r\nX-Agent-Id: x\r\nContent-Length: 0\r\n\r\n",
    b"",
    b"HTTP/1.1 200",
    b"\x16\x03\x01",
]


@contextmanager
def instead(port: int, answer: bytes) -> Iterator[None]:
    """Somebody on the CA's port who says this to everything, and hangs up."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, port))
    listener.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

    thread = Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def recovered(gateway: Gateway, agent: Holder) -> None:
    deadline = time.monotonic() + RECOVERY
    while (answer := gateway.call(agent)).status_code != 200:
        assert time.monotonic() < deadline, (answer.status_code, answer.headers)
        time.sleep(0.1)
