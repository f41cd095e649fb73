"""Connections follow the certificate: those of the old one end with its last request, and no request with them."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from remit import Agent, AsyncAgent
from tests.ca.proofs.issuer import Certified, certified
from tests.nginx import Nginx
from tests.world import World


def enrolled(world: World, nginx: Nginx) -> Agent:
    token = world.token(world.new_agent())
    return Agent.enroll(world.api_url, root=world.root_pem, token=token, verify=nginx.root)


def logged(nginx: Nginx, serial: str) -> set[str]:
    """nginx writes once a request is over."""
    end = time.monotonic() + 5
    while serial not in nginx.connections():
        assert time.monotonic() < end
        time.sleep(0.02)
    return nginx.connections()[serial]


def test_new_requests_are_on_connections_of_the_new_certificate(world: World, nginx: Nginx) -> None:
    with enrolled(world, nginx) as me, me.client() as http:
        serials = []
        for _ in range(3):
            for _ in range(3):
                assert http.get(nginx.url).text.lower() == me.credential.serial
            serials.append(me.credential.serial)
            me.renew()
    by_serial = [logged(nginx, serial) for serial in serials]
    assert [len(one) for one in by_serial] == [1, 1, 1], "a connection is kept for as long as its certificate is"
    assert len(set.union(*by_serial)) == 3


def test_a_request_that_runs_ends_on_the_connection_that_it_began_on(world: World, nginx: Nginx) -> None:
    with enrolled(world, nginx) as me, me.client() as http:
        with http.stream("GET", f"{nginx.url}/slow") as slow:
            octets = slow.iter_bytes(1000)
            got = len(next(octets))
            old = me.credential.serial
            me.renew()
            assert http.get(nginx.url).text.lower() == me.credential.serial != old
            got += sum(map(len, octets))
        assert got == 200_000
        assert http.get(nginx.url).text.lower() == me.credential.serial


def test_a_stream_that_nobody_reads_to_its_end_frees_its_connections(world: World, nginx: Nginx) -> None:
    async def main() -> None:
        token = world.token(world.new_agent())
        async with (
            AsyncAgent.enroll(world.api_url, root=world.root_pem, token=token, verify=nginx.root) as me,
            me.client(limits=httpx2.Limits(max_connections=1)) as http,
        ):
            async with http.stream("GET", f"{nginx.url}/slow") as slow:
                await slow.aiter_bytes().__anext__()
                await me.renew()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await http.get(f"{nginx.url}/slow")
            await me.renew()
            assert (await http.get(nginx.url)).text.lower() == me.credential.serial

    asyncio.run(main())


def test_threads_share_a_client_across_renewals(world: World, nginx: Nginx) -> None:
    answers: list[int] = []
    with enrolled(world, nginx) as me, me.client() as http:

        def ask() -> None:
            answers.extend(http.get(nginx.url).status_code for _ in range(100))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            me.renew()
        for thread in threads:
            thread.join()
    assert answers == [200] * 400


def test_a_request_that_cannot_connect_leaves_nothing_behind(world: World, nginx: Nginx) -> None:
    with enrolled(world, nginx) as me, me.client() as http:
        for _ in range(2):
            with pytest.raises(httpx2.ConnectError):
                http.get("https://127.0.0.1:1/")
            me.renew()
        assert http.get(nginx.url).status_code == 200


@contextmanager
def refusing(tls: Certified) -> Iterator[str]:
    """A server that trusts no client's certificate, over TLS 1.3: its refusal comes with the client's first read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(tls.chain, tls.key)
    context.load_verify_locations(tls.root)
    context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with suppress(ssl.SSLError), connection, context.wrap_socket(connection, server_side=True):
                        pass

        threading.Thread(target=serve, daemon=True).start()
        yield f"https://127.0.0.1:{listening.getsockname()[1]}/"
        listening.shutdown(socket.SHUT_RDWR)


def test_a_refusal_of_the_certificate_has_one_name_for_both_twins(world: World, tmp_path: Path) -> None:
    tls, tokens = certified(tmp_path, "127.0.0.1"), [world.token(world.new_agent()) for _ in range(2)]

    async def asynchronously(url: str) -> None:
        enrolment = AsyncAgent.enroll(world.api_url, root=world.root_pem, token=tokens[1], verify=tls.root)
        async with enrolment as me, me.client() as http:
            with pytest.raises(httpx2.ReadError):
                await http.get(url)

    with refusing(tls) as url:
        with (
            Agent.enroll(world.api_url, root=world.root_pem, token=tokens[0], verify=tls.root) as me,
            me.client() as http,
            pytest.raises(httpx2.ReadError),
        ):
            http.get(url)
        asyncio.run(asynchronously(url))
