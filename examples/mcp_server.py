"""An MCP server that lets in nobody but agents with a certificate of one authority.

    python examples/mcp_server.py 9443 server.pem server.key ca-chain.pem

`ca-chain.pem` is the authority's `GET /ca/chain.pem`. What a revoked agent may still do here is written in
`docs/delays.md`: a server that must know at once asks the status service or the authorization server's hook.
"""

from __future__ import annotations

import ssl
import sys

import uvicorn
from mcp.server.mcpserver import MCPServer

server = MCPServer("adder")


@server.tool()
def add(a: int, b: int) -> int:
    """The sum of two numbers."""
    return a + b


def main(port: str, certificate: str, key: str, agents: str) -> None:
    uvicorn.run(
        server.streamable_http_app(),
        port=int(port),
        ssl_certfile=certificate,
        ssl_keyfile=key,
        ssl_ca_certs=agents,
        ssl_cert_reqs=ssl.CERT_REQUIRED,
        log_level="warning",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
