"""An agent that calls a tool of an MCP server, with the MCP Python SDK.

    python examples/mcp_agent.py https://localhost:9443/mcp server.pem
    python examples/mcp_agent.py https://mcp.example/mcp roots.pem https://as.example

With two arguments the agent's certificate alone lets it in (mutual TLS), as `mcp_server.py` beside this wants it. With
an authorization server it also gets tokens bound to the certificate, for this server alone, as the server wants them.
"""

from __future__ import annotations

import asyncio
import sys

from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from remit import AsyncAgent, Failed


async def main(url: str, roots: str, issuer: str | None = None) -> None:
    async with AsyncAgent.enroll(verify=roots) as me:
        auth = me.mcp(url, issuer=issuer) if issuer else None
        async with me.client(auth=auth) as http, Client(streamable_http_client(url, http_client=http)) as mcp:
            tools = (await mcp.list_tools()).tools
            print(f"{me.credential.spiffe_id} may call: {', '.join(tool.name for tool in tools)}")
            result = await mcp.call_tool("add", {"a": 20, "b": 22})
            print(f"20 + 22 is {getattr(result.content[0], 'text', result.content[0])}")


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except Failed as refusal:
        sys.exit(f"The authority says: {refusal}")
