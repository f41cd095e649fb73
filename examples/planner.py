"""A planner that has two workers certified, each for less than it may itself, and ends them with its task.

    python examples/planner.py https://localhost:9443/ server.pem

It takes an agent with a task of the scope "files:read tickets:write" that may delegate (--max-depth 1 or more). The
arguments are the URL of a server that reads the authority's lists, and the root that its own certificate leads to.
"""

from __future__ import annotations

import asyncio
import sys

import httpx2

from remit import AsyncAgent, Failed

COLUMNS = "{:<16} {:<13} {:<25} {:<10} {}"
PATIENCE_SECONDS = 10


async def main(url: str, roots: str) -> None:
    async with (
        AsyncAgent.enroll(verify=roots) as planner,
        planner.delegate(agent=f"{name_of(planner)}.reader", scope="files:read") as reader,
        planner.delegate(agent=f"{name_of(planner)}.writer", scope="tickets:write") as writer,
    ):
        print(COLUMNS.format("WHO", "DELEGATED BY", "MAY", "UNTIL", "SERIAL"))
        for agent, parent in ((planner, "-"), (reader, name_of(planner)), (writer, name_of(planner))):
            held = agent.credential
            print(COLUMNS.format(name_of(agent), parent, held.scope, f"{held.not_after:%H:%M:%S}Z", held.serial))

        try:
            await planner.delegate(scope="files:write")
        except Failed as refusal:
            print(f"Nobody passes on what it does not have: {refusal}")

        print(*await asyncio.gather(work(reader, url), work(writer, url)), sep="\n")

        # The end of the task is the end of every certificate for it, the workers' too, in one transaction.
        await planner.complete()
        print(f"The task {planner.credential.task} is complete.")
        print(*await asyncio.gather(refused(reader, url), refused(writer, url)), sep="\n")


async def work(worker: AsyncAgent, url: str) -> str:
    """Whatever a worker is for, with its own certificate; its key never leaves it."""
    async with worker.client() as http:
        return f"{name_of(worker)} was answered {(await http.get(url)).status_code}"


async def refused(worker: AsyncAgent, url: str) -> str:
    """What the server says to an ended certificate: within seconds it is in the list that the server reads."""
    async with worker.client() as http, asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                await http.get(url)
            except httpx2.ReadError as alert:
                return f"{name_of(worker)} is refused: {alert}"
            await asyncio.sleep(0.2)


def name_of(agent: AsyncAgent) -> str:
    return agent.credential.spiffe_id.rpartition("/")[2]


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except Failed as refusal:
        sys.exit(f"The authority says: {refusal}")
