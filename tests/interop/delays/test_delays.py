"""Case 13 and scenario 20: every client accepts the live certificate, and refuses the revoked one in its own time.

How fast that is, no test says; docs/delays.md does. Here is only that it comes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future

import pytest

from tests.interop.delays.client import Aftermath, Client, Missing
from tests.interop.delays.haproxy import Haproxy, HaproxyWithoutResumption
from tests.interop.delays.measure import CLIENTS, GRACE, SETTINGS, Delay, measuring
from tests.interop.delays.nginx import NginxCrl, NginxOcsp, NginxOcspCache
from tests.interop.delays.stunnel import Stunnel, StunnelWithoutResumption
from tests.interop.delays.table import DOCUMENT, table
from tests.world import World

pytestmark = pytest.mark.slow

Delays = Mapping[type[Client], Future[Delay]]

PARAMETERS = [pytest.param(each, id=each.__name__) for each in CLIENTS]
AFTERMATHS = {
    NginxOcsp: Aftermath("served", "refused"),
    NginxOcspCache: Aftermath("served", "refused"),
    NginxCrl: Aftermath("closed", "refused"),
    Haproxy: Aftermath("served", "resumed"),
    HaproxyWithoutResumption: Aftermath("served", "refused"),
    Stunnel: Aftermath("served", "resumed"),
    StunnelWithoutResumption: Aftermath("served", "refused"),
}


@pytest.fixture(scope="module")
def delays(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delays]:
    """All clients that any test wants, measured side by side."""
    tests = [item for item in request.session.items if "delays" in getattr(item, "fixturenames", ())]
    wanted = {test.callspec.params["client"] for test in tests if hasattr(test, "callspec")}
    folder = tmp_path_factory.mktemp("clients")
    world = World(tmp_path_factory.mktemp("delays"), **SETTINGS).init().start()
    with measuring(world, folder, [each for each in CLIENTS if each in wanted] or CLIENTS) as measured:
        yield measured
    world.stop()


def measured(delays: Delays, client: type[Client]) -> Delay:
    try:
        return delays[client].result()
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("client", PARAMETERS)
def test_it_accepts_the_live_certificate_and_refuses_the_revoked_one(delays: Delays, client: type[Client]) -> None:
    assert 0 < measured(delays, client).seconds < client.seconds + GRACE + 5


@pytest.mark.parametrize("client", AFTERMATHS, ids=lambda each: each.__name__)
def test_what_was_open_before(delays: Delays, client: type[Client]) -> None:
    """A control: no status ends a connection that is open, and a session that is resumed may pass unasked."""
    assert measured(delays, client).aftermath == AFTERMATHS[client]


def test_the_table(delays: Delays, capsys: pytest.CaptureFixture[str]) -> None:
    done = [future.result() for future in delays.values() if future.exception() is None]
    with capsys.disabled():
        print("", table(done), sep="\n")
    assert done


@pytest.mark.parametrize("client", CLIENTS, ids=lambda each: each.__name__)
def test_the_docs_have_a_row(client: type[Client]) -> None:
    assert f"| {client.name} | {client.mechanism} |" in DOCUMENT.read_text()
