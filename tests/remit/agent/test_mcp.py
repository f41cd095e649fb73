"""The MCP SDK's own client and server, with a real authorization server between them that knows certificates."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import uvicorn
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer

from remit import AsyncAgent
from tests.ca.proofs.issuer import Certified, certified
from tests.interop import openid
from tests.world import World, free_port


class Verifier:
    """Tokens of this issuer for this resource, by its keys."""

    def __init__(self, issuer: str, resource: str, tls: Certified) -> None:
        with httpx2.Client(verify=ssl.create_default_context(cafile=tls.root), trust_env=False) as http:
            self.keys = KeySet.import_key_set(http.get(f"{issuer}/jwks").json())
        self.resource = resource
        self.taken: list[str] = []

    async def verify_token(self, token: str) -> AccessToken | None:
        try:
            claims = jwt.decode(token, self.keys, algorithms=["ES256"]).claims
        except JoseError:
            return None
        if claims["aud"] != self.resource:
            return None
        self.taken.append(claims["jti"])
        return AccessToken(
            token=token, client_id=claims["client_id"], scopes=claims.get("scope", "").split(), resource=claims["aud"]
        )


@contextmanager
def serving(issuer: str, port: int, tls: Certified) -> Iterator[Verifier]:
    url = f"https://127.0.0.1:{port}/mcp"
    verifier = Verifier(issuer, url, tls)
    auth = AuthSettings(
        issuer_url=issuer, resource_server_url=url, required_scopes=["read"], validate_token_resource=True
    )
    server = MCPServer("adder", token_verifier=verifier, auth=auth)

    @server.tool()
    def add(a: int, b: int) -> int:
        return a + b

    configuration = uvicorn.Config(
        server.streamable_http_app(),
        port=port,
        ssl_certfile=tls.chain,
        ssl_keyfile=tls.key,
        log_level="error",
        ws="none",
    )
    running = uvicorn.Server(configuration)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        assert thread.is_alive()
        time.sleep(0.02)
    yield verifier
    running.should_exit = True
    thread.join()


def test_an_agent_calls_a_tool_of_a_protected_server_across_a_renewal(world: World, tmp_path: Path) -> None:
    tls, name, port = certified(tmp_path, "localhost", "127.0.0.1"), world.new_agent(), free_port()
    client = {
        "client_id": f"{world.api_url}/clients/default/{name}",
        "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_san_uri": f"spiffe://agents.example/agent/default/{name}",
    }

    async def main(issuer: str) -> list[str]:
        url = f"https://127.0.0.1:{port}/mcp"
        enrolment = AsyncAgent.enroll(world.api_url, root=world.root_pem, token=world.token(name), verify=tls.root)
        async with (
            enrolment as me,
            me.client(auth=me.mcp(url, issuer=issuer)) as http,
            Client(streamable_http_client(url, http_client=http)) as mcp,
        ):
            found = [str((await mcp.call_tool("add", {"a": 1, "b": 2})).content[0])]
            await me.renew()
            found.append(str((await mcp.call_tool("add", {"a": 2, "b": 2})).content[0]))
            return found

    with (
        openid.running(tls, clients=[client], trust=world.root_pem) as provider,
        serving(provider.issuer, port, tls) as verifier,
    ):
        first, second = asyncio.run(main(provider.issuer))
    assert "'3'" in first
    assert "'4'" in second
    assert len(set(verifier.taken)) == 2, "a token of each certificate"
