"""Scenario 19: renewals under load. No request fails, and the old certificate is good beside the new one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter

import pytest

from remit import Agent, AsyncAgent, State
from remit.tls import LiveContext
from tests.nginx import Nginx
from tests.remit.agent.conftest import LIFE_SECONDS
from tests.remit.agent.test_tls import asked
from tests.world import World

RATE = 100
LIVES = 5
BUSY_SECONDS = LIFE_SECONDS * LIVES


@pytest.mark.slow
def test_scenario_19_a_hundred_requests_a_second_over_many_lives(brief: World, brief_nginx: Nginx) -> None:
    """Each is sent when its time has come, whatever the others do; one in ten takes a second."""
    answers: Counter[int] = Counter()
    states: set[State] = set()
    failures: list[BaseException] = []

    async def main() -> int:
        token = brief.token(brief.new_agent())
        enrolment = AsyncAgent.enroll(brief.api_url, root=brief.root_pem, token=token, verify=brief_nginx.root)
        async with enrolment as me, me.client(timeout=20) as http:
            serials = {me.credential.serial}
            me.on_credential(lambda credential: serials.add(credential.serial))

            async def one(number: int) -> None:
                url = f"{brief_nginx.url}/slow" if number % 10 == 0 else brief_nginx.url
                try:
                    answers[(await http.get(url)).status_code] += 1
                except Exception as error:  # noqa: BLE001 (whatever it is, it is counted)
                    failures.append(error)

            began = time.monotonic()
            async with asyncio.TaskGroup() as group:
                for number in range(RATE * BUSY_SECONDS):
                    await asyncio.sleep(max(0.0, began + number / RATE - time.monotonic()))
                    states.add(me.state)
                    group.create_task(one(number))
            return len(serials)

    serials = asyncio.run(main())
    assert failures == []
    assert answers == {200: RATE * BUSY_SECONDS}
    assert serials >= 2 * LIVES, "renewed at half of each life"
    assert states <= {State.FRESH, State.OVERDUE}


@pytest.mark.slow
def test_scenario_19_threads_over_many_lives(brief: World, brief_nginx: Nginx) -> None:
    answers: Counter[int] = Counter()
    token = brief.token(brief.new_agent())
    with Agent.enroll(brief.api_url, root=brief.root_pem, token=token, verify=brief_nginx.root) as me:
        serials = {me.credential.serial}
        me.on_credential(lambda credential: serials.add(credential.serial))
        end = time.monotonic() + 2 * LIFE_SECONDS

        def ask() -> None:
            while time.monotonic() < end:
                answers[http.get(brief_nginx.url).status_code] += 1
                time.sleep(4 / RATE)

        with me.client() as http:
            threads = [threading.Thread(target=ask) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert answers.keys() == {200}
    assert len(serials) >= 4


def test_scenario_19_the_old_certificate_is_good_beside_the_new_one(brief: World, brief_nginx: Nginx) -> None:
    """What is bound to it, such as an access token, serves until its end."""
    token = brief.token(brief.new_agent())
    with Agent.enroll(brief.api_url, root=brief.root_pem, token=token, verify=brief_nginx.root) as me:
        old, renewed = me.credential, threading.Event()
        me.on_credential(lambda _credential: renewed.set())
        assert renewed.wait(LIFE_SECONDS)
        overlap = old.not_after - me.credential.since
        assert overlap.total_seconds() > LIFE_SECONDS * 0.3
        context = LiveContext.verifying(brief_nginx.root)
        context.present(old.key, old.chain)
        assert asked(context, brief_nginx).startswith(b"HTTP/1.1 200")
