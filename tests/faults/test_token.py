"""The services while their token is away, slow or wrong: real processes over the shim."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.faults.shim import Shim
from tests.world import World, key_and_csr

RECOVERY_SECONDS = 5.0


@pytest.fixture
def shim(tmp_path: Path) -> Iterator[Shim]:
    shim = Shim(tmp_path)
    yield shim
    shim.clear()


@pytest.fixture(
    params=[pytest.param("1", id="one session"), pytest.param("2", id="two sessions", marks=pytest.mark.slow)]
)
def own(request: pytest.FixtureRequest, shim: Shim, tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, **shim.environment, REMIT_PKCS11__SESSIONS=request.param).init().start()
    yield world
    shim.clear()
    world.stop()


def post(world: World) -> tuple[httpx2.Response, float]:
    """One request by a new agent, and the seconds until its answer."""
    token, (_, csr) = world.token(world.new_agent()), key_and_csr()
    began = time.monotonic()
    return world.post_csr(token, csr), time.monotonic() - began


@pytest.mark.slow
def test_without_the_token_issuance_waits_outside_and_published_status_goes_on(own: World, shim: Shim) -> None:
    assert post(own)[0].status_code == 201
    shim.pull()
    answers = [post(own) for _ in range(5)]
    for answer, seconds in answers:
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["Retry-After"]) > 0
        assert seconds < 2.0
    with urllib.request.urlopen(f"{own.status_url}/crl/issuing-1.crl", timeout=5) as published:
        assert published.status == 200
    time.sleep(2.0)  # so that the waits between attempts have grown
    shim.plug()
    began = time.monotonic()
    while post(own)[0].status_code != 201:
        assert time.monotonic() - began < RECOVERY_SECONDS
    assert shim.counts().unlocked == 0


@pytest.mark.slow
def test_a_token_that_hangs_does_not_hang_the_service(own: World, shim: Shim) -> None:
    assert post(own)[0].status_code == 201
    shim.hang()
    answer, seconds = post(own)
    assert answer.status_code == 503
    assert seconds < 15.0, "ten seconds of patience, and some"
    answer, seconds = post(own)
    assert (answer.status_code, seconds < 2.0) == (503, True)
    shim.clear()
    began = time.monotonic()
    while post(own)[0].status_code != 201:
        assert time.monotonic() - began < RECOVERY_SECONDS
