"""Three lines at start-up, as a program writes them, against the running authority and a real server."""

from __future__ import annotations

import asyncio
import os
import ssl
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509

from remit import Agent, AsyncAgent, Failed, State
from remit.holder import clock
from tests.nginx import Nginx
from tests.world import CHECKOUT, World, key_and_csr


def enrolled(world: World, **options: Any) -> Agent:
    options = {"token": world.token(world.new_agent()), **options}
    return Agent.enroll(world.api_url, root=world.root_pem, **options)


def test_an_agent_is_let_in_with_what_it_was_given(world: World, nginx: Nginx) -> None:
    task = world.new_task(name := world.new_agent(scope="read write"), scope="read", resources=["https://a.example"])
    with enrolled(world, token=world.token(name, task=task), verify=nginx.root) as me, me.client() as http:
        assert http.get(nginx.url).text.lower() == me.credential.serial
        held = me.credential
        assert me.state is State.FRESH
        assert me.sentence == ""
        assert me.next_try == held.renew_after < held.not_after
    assert (held.task, held.scope, held.resources) == (task, "read", ("https://a.example",))
    assert held.spiffe_id == f"spiffe://agents.example/agent/default/{name}"
    assert held.client_id.endswith(f"/clients/default/{name}")


def test_the_same_in_an_event_loop_with_nothing_but_the_environment(
    world: World, nginx: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMIT_CA", world.api_url)
    monkeypatch.setenv("REMIT_ROOT_FINGERPRINT", world.root_fingerprint)
    monkeypatch.setenv("REMIT_ENROLLMENT_TOKEN", world.token(world.new_agent()))

    async def main() -> tuple[str, str]:
        async with AsyncAgent.enroll(verify=nginx.root) as me, me.client() as http:
            return (await http.get(nginx.url)).text.lower(), me.credential.serial

    answered, serial = asyncio.run(main())
    assert answered == serial


def test_an_agent_that_is_awaited_is_closed_by_hand(world: World) -> None:
    async def main() -> State:
        me = await AsyncAgent.enroll(world.api_url, root=world.root_pem, token=world.token(world.new_agent()))
        try:
            before = me.credential.serial
            await me.renew()
            assert me.credential.serial != before
            return me.state
        finally:
            await me.aclose()

    assert asyncio.run(main()) is State.FRESH


def test_the_context_is_one_object_that_presents_the_newest(world: World, nginx: Nginx) -> None:
    """Any client of TLS can use it; here the standard library's."""

    def serial_seen(context: ssl.SSLContext) -> str:
        import urllib.request

        with urllib.request.urlopen(nginx.url, context=context, timeout=10) as answer:
            return str(answer.read().decode()).lower()

    with enrolled(world, verify=nginx.root.read_bytes()) as me:
        context = me.context
        seen: list[str] = []
        me.on_credential(lambda credential: seen.append(credential.serial))
        assert serial_seen(context) == me.credential.serial
        me.renew()
        assert me.context is context
        assert serial_seen(context) == me.credential.serial == seen[-1]


def test_the_key_is_never_in_a_file_unless_a_directory_is_given(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform == "linux":
        monkeypatch.setattr("tempfile.NamedTemporaryFile", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with enrolled(world) as me:
        me.renew()
        assert b"PRIVATE" not in repr(me.credential).encode()
    assert not list(tmp_path.iterdir())


def test_an_agent_that_restarts_goes_on_with_its_files_and_spends_no_token(world: World, tmp_path: Path) -> None:
    directory = tmp_path / "creds"
    with enrolled(world, dir=directory) as me:
        first = me.credential
    assert stat.S_IMODE((directory / "tls.key").stat().st_mode) == 0o600
    assert (directory / "tls.crt").read_bytes() == first.chain
    with Agent.enroll(world.api_url, root_fingerprint=world.root_fingerprint, dir=directory) as me:
        assert me.credential.serial == first.serial
        assert me.credential.said == first.said
        me.renew()
        assert (directory / "tls.crt").read_bytes() == me.credential.chain != first.chain


@pytest.mark.parametrize("asked", [{"scope": "read"}, {"task": "another"}])
def test_files_that_are_not_as_asked_are_not_gone_on_with(world: World, tmp_path: Path, asked: Any) -> None:
    enrolled(world, dir=tmp_path).close()
    with pytest.raises(Failed, match="no proof of identity"):
        Agent.enroll(world.api_url, root=world.root_pem, dir=tmp_path, **asked)


def test_a_parent_s_children_have_less_and_are_let_in(world: World, nginx: Nginx) -> None:
    """Scenario 17, as a planner writes it."""
    name = world.new_agent(scope="read write", max_depth=2)
    task = world.new_task(name, scope="read write")
    token = world.token(name, task=task)

    async def main() -> None:
        async with AsyncAgent.enroll(world.api_url, root=world.root_pem, token=token, verify=nginx.root) as me:
            async with me.delegate(scope="read", agent=f"{name}.reader") as child, child.client() as http:
                assert isinstance(child, AsyncAgent)
                assert (await http.get(nginx.url)).text.lower() == child.credential.serial
                assert (child.credential.scope, child.credential.task) == ("read", task)
                assert child.credential.not_after <= me.credential.not_after
                assert child.credential.spiffe_id == f"{me.credential.spiffe_id}.reader"
                await child.renew()
            with pytest.raises(Failed) as refused:
                await me.delegate(scope="read admin")
            assert refused.value.kind.endswith(":scope-exceeded")
            end = clock() + timedelta(minutes=2)
            _, csr = key_and_csr()
            leaf = x509.load_pem_x509_certificates(await me.certify(csr, not_after=end))[0]
            assert leaf.not_valid_after_utc <= end

    asyncio.run(main())


def test_a_child_of_a_program_without_a_loop(world: World) -> None:
    name = world.new_agent(max_depth=1)
    _, csr = key_and_csr()
    with enrolled(world, token=world.token(name)) as me, me.delegate() as child:
        assert isinstance(child, Agent)
        assert child.credential.spiffe_id.startswith(f"{me.credential.spiffe_id}.")
        assert len(x509.load_pem_x509_certificates(me.certify(csr.decode()))) == 2


def test_an_agent_that_completes_its_task_is_done(world: World) -> None:
    name = world.new_agent()
    task = world.new_task(name)
    with enrolled(world, token=world.token(name, task=task)) as me:
        me.complete()
        assert world.json("task", "show", task)["status"] == "completed"
        assert world.json("cert", "show", me.credential.serial)["state"] == "revoked"
        with pytest.raises(Failed, match="not a live one"):
            me.renew()
        assert me.state is State.REFUSED
        assert not me.state.usable
        assert "not a live one" in me.sentence


def test_who_has_no_task_has_nothing_to_complete(world: World) -> None:
    with enrolled(world) as me, pytest.raises(Failed, match="for no task"):
        me.complete()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"token": "a", "token_file": "b"}, "token= and token_file="),
        ({"token": "remit_et_wrong"}, "not accepted"),
        ({"token_file": "/nowhere/token"}, "cannot be read"),
        ({"proof": lambda: ""}, "no proof of identity"),
        ({"proof": lambda: {}["secret"]}, "cannot be had: KeyError"),
        ({"root": b"no certificate"}, "no root certificate"),
        ({"root": "/nowhere/root.pem"}, "/nowhere/root.pem"),
        ({"root_fingerprint": "12"}, "64 hexadecimal"),
        ({"root_fingerprint": "0" * 64}, "not the one of the fingerprint"),
        ({"not_after": clock().replace(tzinfo=None)}, "time zone"),
        ({"verify": False}, "could be anybody"),
        ({"verify": b"no certificate"}, "cannot start"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(world: World, options: Any, sentence: str) -> None:
    given = {"root": world.root_pem, **options}
    if not {"token", "token_file", "proof"} & options.keys():
        given["token"] = world.token(world.new_agent())
    with pytest.raises(Failed, match=sentence):
        Agent.enroll(world.api_url, **given)


def test_without_an_authority_or_a_root_nothing_is_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REMIT_CA", "REMIT_ROOT_FINGERPRINT", "REMIT_ENROLLMENT_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Failed, match="REMIT_CA"):
        Agent.enroll()
    with pytest.raises(Failed, match="the token goes to nobody else"):
        Agent.enroll(world.api_url, token="secret")
    with pytest.raises(Failed, match="nothing was sent to it"):
        Agent.enroll(world.api_url, root_fingerprint="0" * 64, token="secret")


def test_a_server_of_another_root_is_not_believed(world: World, nginx: Nginx) -> None:
    with enrolled(world) as me, me.client() as http, pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY"):
        http.get(nginx.url)


@pytest.mark.parametrize("name", ["Agent", "AsyncAgent", "Failed", "State"])
def test_an_import_costs_next_to_nothing(name: str) -> None:
    """What is heavy comes with the first enrolment."""
    heavy = "{'httpx2', 'cryptography', 'asyncio', 'anyio', 'rich', 'click'} & set(__import__('sys').modules)"
    program = f"from remit import {name}; print({heavy})"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "set()", done.stderr


def test_what_is_not_there_is_not_there() -> None:
    import remit

    with pytest.raises(AttributeError, match="Agnet"):
        _ = remit.Agnet
