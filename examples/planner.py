"""A planner that has two workers certified, each for less than it may itself, and ends them with its task.

    python examples/planner.py

It takes an agent with a task of the scope "files:read tickets:write" that may delegate (--max-depth 1 or more).
"""

from __future__ import annotations

import asyncio
import sys

from remit import AsyncAgent, Credential, Failed

COLUMNS = "{:<46} {:<26} {:<9} {}"


def row(who: Credential) -> str:
    return COLUMNS.format(who.spiffe_id, who.scope, f"{who.not_after:%H:%M:%S}Z", f"{who.serial[:8]}…")


async def work(worker: AsyncAgent) -> str:
    """What a real one would do with `worker.client()`; its own keys never leave it."""
    await asyncio.sleep(0.1)
    return f"{worker.credential.spiffe_id.rpartition('/')[2]} did what {worker.credential.scope} allows"


async def main() -> None:
    async with (
        AsyncAgent.enroll() as planner,
        planner.delegate(agent=f"{name_of(planner)}.reader", scope="files:read") as reader,
        planner.delegate(agent=f"{name_of(planner)}.writer", scope="tickets:write") as writer,
    ):
        print(COLUMNS.format("WHO", "MAY", "UNTIL", "SERIAL"))
        for agent in (planner, reader, writer):
            print(row(agent.credential))

        try:
            await reader.delegate(scope="tickets:write")
        except Failed as refusal:
            print(f"The reader cannot pass on what it does not have: {refusal}")

        print(*await asyncio.gather(work(reader), work(writer)), sep="\n")

        # The end of the task is the end of every certificate for it, the workers' too, in one transaction.
        await planner.complete()
        try:
            await reader.renew()
        except Failed as refusal:
            print(f"The task is over: {refusal}")


def name_of(agent: AsyncAgent) -> str:
    return agent.credential.spiffe_id.rpartition("/")[2]


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except Failed as refusal:
        sys.exit(f"The authority says: {refusal}")
