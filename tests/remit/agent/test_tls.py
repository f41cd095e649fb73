"""A context whose chain changes while threads make connections by it."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from pathlib import Path

import pytest

from remit.tls import LiveContext, present
from tests.holder import enrolled
from tests.nginx import HOST, Nginx
from tests.world import World

ROUNDS = 300


def credential(world: World) -> tuple[bytes, bytes]:
    one = enrolled(world)
    return (one.directory / "tls.key").read_bytes(), (one.directory / "tls.crt").read_bytes()


def asked(context: ssl.SSLContext, server: Nginx, **options: bool) -> bytes:
    plain = socket.create_connection((HOST, server.port), 10)
    with context.wrap_socket(plain, server_hostname=HOST, **options) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while part := connection.recv(4096):
            answer += part
    return answer


def test_no_connection_is_made_between_a_certificate_and_its_key(world: World, nginx: Nginx) -> None:
    """Without the guard OpenSSL presents nothing in that moment, or reads what was freed and the process dies."""
    context, done, answers = LiveContext.verifying(nginx.root), threading.Event(), list[bytes]()
    ours = [credential(world), credential(world)]
    context.present(*ours[0])

    def change() -> None:
        while not done.wait(0.0005):
            for one in ours:
                context.present(*one)

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for _ in range(ROUNDS):
            answers.append(asked(context, nginx))
    finally:
        done.set()
        changing.join()
    assert [one for one in answers if not one.startswith(b"HTTP/1.1 200")] == []


def test_a_handshake_can_be_left_for_later_and_one_that_fails_closes(world: World, nginx: Nginx) -> None:
    context = LiveContext.verifying(nginx.root)
    context.present(*credential(world))
    assert asked(context, nginx, do_handshake_on_connect=False).startswith(b"HTTP/1.1 200")
    unconnected = context.wrap_socket(socket.socket(), server_hostname=HOST)
    unconnected.connect((HOST, nginx.port))
    assert unconnected.cipher() is not None
    unconnected.close()
    stranger = LiveContext.verifying(world.root_pem)
    with pytest.raises(ssl.SSLCertVerificationError), socket.create_connection((HOST, nginx.port), 10) as plain:
        stranger.wrap_socket(plain, server_hostname=HOST)


def test_servers_are_verified_by_the_system_or_by_roots_that_are_given(nginx: Nginx) -> None:
    by_system = LiveContext.verifying(True)
    by_system.trust()
    assert by_system.get_ca_certs() or ssl.get_default_verify_paths().capath
    given = LiveContext.verifying(nginx.root.read_bytes())
    given.trust()
    assert len(given.get_ca_certs()) == 1
    for context in (by_system, given):
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname


def test_where_memory_has_no_name_a_private_file_serves_and_is_gone(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    present(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), *credential(world))
    assert list(tmp_path.iterdir()) == []
