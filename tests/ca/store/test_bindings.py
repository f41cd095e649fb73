from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from ca.identifiers import Thumbprint
from ca.policy.ceiling import Principal
from ca.store import bindings
from ca.store.bindings import Binding
from ca.store.transaction import Database
from tests.ca.store.rows import NOW, written

ONE = Binding(
    id="b_1",
    party="as-1",
    x5t=Thumbprint.of(b"certificate"),
    jkt=Thumbprint.of(b"key"),
    issuer="https://as.example",
    client_id="https://ca.example/clients/acme/bot",
    grant_type="client_credentials",
    subject=Principal("https://idp.example", "alice"),
    scope="read",
    created_at=NOW,
    expires_at=NOW + timedelta(minutes=5),
)
LEAST = replace(ONE, id="b_2", jkt=None, issuer=None, client_id=None, grant_type=None, subject=None, scope="")


def added(database: Database, *all_: Binding) -> None:
    for one in all_:
        written(database, lambda connection, one=one: bindings.add(connection, one))


def test_the_tokens_of_a_certificate(database: Database) -> None:
    other = replace(ONE, id="b_3", x5t=Thumbprint.of(b"other"))
    ended = replace(ONE, id="b_4", expires_at=NOW)
    added(database, ONE, LEAST, other, ended)
    with database.read() as connection:
        assert bindings.of_certificate(connection, ONE.x5t, NOW) == [ONE, LEAST]
        assert bindings.of_certificate(connection, Thumbprint.of(b"none"), NOW) == []


def test_a_key_leads_to_the_certificate_that_was_bound_last(database: Database) -> None:
    renewed = replace(ONE, id="b_5", x5t=Thumbprint.of(b"renewed"), created_at=NOW + timedelta(seconds=1))
    added(database, renewed, ONE)
    with database.read() as connection:
        keys = [Thumbprint.of(b"key"), Thumbprint.of(b"another")]
        assert bindings.certificates_of(connection, keys) == {Thumbprint.of(b"key"): renewed.x5t}
        assert bindings.certificates_of(connection, []) == {}


def test_what_expired_is_forgotten(database: Database) -> None:
    added(database, ONE, replace(LEAST, expires_at=NOW + timedelta(hours=1)))
    assert written(database, lambda connection: bindings.forget(connection, NOW + timedelta(minutes=6))) == 1
    with database.read() as connection:
        assert [one.id for one in bindings.of_certificate(connection, ONE.x5t, NOW)] == ["b_2"]
