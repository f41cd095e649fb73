"""An agent that calls an API over mutual TLS: start-up is one line, and the certificate stays fresh by itself.

    python examples/httpx_agent.py https://localhost:9443/ server.pem

Where the authority is, its root's fingerprint and the enrolment token come from REMIT_CA, REMIT_ROOT_FINGERPRINT and
REMIT_ENROLLMENT_TOKEN. The arguments are the API's URL and the root that its own certificate leads to.
"""

from __future__ import annotations

import asyncio
import sys

from remit import AsyncAgent, Failed


async def main(url: str, roots: str) -> None:
    async with AsyncAgent.enroll(verify=roots) as me, me.client() as http:
        print(f"I am {me.credential.spiffe_id}")
        print(f"for the task {me.credential.task} ({me.credential.scope}), until {me.credential.not_after:%H:%M:%S}Z")

        # An ordinary httpx2 client: its connections present the newest certificate.
        print(f"{url} answered {(await http.get(url)).status_code}")

        # Nobody needs to renew by hand; this shows that the client goes on with the next certificate, and another key.
        before = me.credential.serial
        await me.renew()
        print(f"renewed: {before[:8]}… became {me.credential.serial[:8]}…")
        print(f"{url} answered {(await http.get(url)).status_code}")


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except Failed as refusal:
        sys.exit(f"The authority says: {refusal}")
