"""The server's start where something is not as it should be."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.world import World


@pytest.mark.slow
def test_an_unfit_list_does_not_keep_the_authority_from_revoking(tmp_path: Path) -> None:
    """Found once: a row that was lost from the database stopped the next start, and with it every revocation."""
    world = World(tmp_path).init().start()
    try:
        lost, other = world.enrol(), world.enrol()
        world.json("revoke", lost.serial)
        with world.operator() as admin:
            assert admin.post("/v1/crls/publish").status_code == 200
        world.stop()
        connection = sqlite3.connect(world.home / "remit.db")
        with connection:
            connection.execute("DELETE FROM revocations WHERE serial = ?", (bytes.fromhex(lost.serial),))
            connection.execute("UPDATE crls SET this_update = this_update - 1000, next_update = next_update - 1000")
        connection.close()
        world.start()
        with world.operator() as admin:
            assert admin.post(f"/v1/certificates/{other.serial}/revoke", json={}).json()["state"] == "revoked"
            answer = admin.post("/v1/crls/publish")
        assert answer.status_code == 500
        assert "entries of the list before it are gone" in answer.json()["detail"]
        assert "list_unfit" in (world.directory / "service.log").read_text()
    finally:
        world.stop()
