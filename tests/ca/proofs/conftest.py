"""A root for TLS on loopback, and an issuer that serves under it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ca.proofs.issuer import Certified, Issuer, certified, running


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    """Good for `issuer.test`, `localhost` and loopback."""
    return certified(tmp_path_factory.mktemp("issuer"), "issuer.test", "localhost", "127.0.0.1", "::1")


@pytest.fixture
def issuer(tls: Certified) -> Iterator[Issuer]:
    """An issuer of the test's own."""
    with running(Issuer(tls)) as made:
        yield made
