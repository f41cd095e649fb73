"""What the status service is told: never good without a finished certificate (case 14)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from ca.identifiers import Serial
from ca.pki import certificate
from ca.pki.profile import Kind
from ca.store import certificates, crls, issuers, tokens
from ca.store.certificates import Result
from ca.store.issuers import IssuerRecord
from ca.store.status import Good, Intended, Revoked, StatusReader, Unknown
from ca.store.transaction import Connection, Database
from tests.ca.pki.specimens import Hierarchy
from tests.ca.store.rows import ISSUER, NOW, crl, hold, intent, issue, issuer, release, token, written
from tests.ca.store.rows import revoke as act

COMPROMISED = x509.ReasonFlags.key_compromise


@pytest.fixture
def reader(url: str, database: Database) -> Iterator[StatusReader]:
    opened = StatusReader(url)
    yield opened
    opened.close()


def intend(database: Database, number: int) -> None:
    written(database, lambda connection: certificates.intend(connection, [intent(number)]))


def revoke(database: Database, number: int, issuer: str = ISSUER) -> None:
    assert act(database, intent(number), reason=COMPROMISED, issuer=issuer) == 1


def test_good_revoked_and_unknown(database: Database, reader: StatusReader) -> None:
    issue(database, intent(1), intent(2))
    revoke(database, 2)
    asked = [intent(n).serial for n in (1, 2, 3)]
    assert reader.statuses(ISSUER, asked) == dict(
        zip(asked, [Good(), Revoked(NOW, COMPROMISED), Unknown()], strict=True)
    )


def test_an_intent_is_on_hold_neither_good_nor_unknown(database: Database, reader: StatusReader) -> None:
    """Case 1: the key may have signed it."""
    intend(database, 1)
    assert reader.statuses(ISSUER, [intent(1).serial]) == {intent(1).serial: Intended(NOW)}


def test_a_revoked_intent_is_revoked(database: Database, reader: StatusReader) -> None:
    intend(database, 1)
    revoke(database, 1)
    assert reader.statuses(ISSUER, [intent(1).serial]) == {intent(1).serial: Revoked(NOW, COMPROMISED)}


def test_a_hold_is_said_until_it_is_released(database: Database, reader: StatusReader) -> None:
    one = intent(1)
    issue(database, one)
    hold(database, one)
    assert reader.statuses(ISSUER, [one.serial]) == {one.serial: Revoked(NOW, x509.ReasonFlags.certificate_hold)}
    release(database, one)
    assert reader.statuses(ISSUER, [one.serial]) == {one.serial: Good()}


def test_another_issuers_serial_is_unknown(database: Database, reader: StatusReader) -> None:
    written(database, lambda connection: issuers.add(connection, issuer("root-1", Kind.ROOT)))
    issue(database, intent(1))
    assert reader.statuses("root-1", [intent(1).serial]) == {intent(1).serial: Unknown()}
    assert reader.statuses("nobody", [intent(1).serial]) == {intent(1).serial: Unknown()}


def test_another_issuers_revocation_is_not_ours(database: Database, reader: StatusReader) -> None:
    written(database, lambda connection: issuers.add(connection, issuer("root-1", Kind.ROOT)))
    issue(database, intent(1), intent(1, issuer="root-1"))
    revoke(database, 1, "root-1")
    assert reader.statuses(ISSUER, [intent(1).serial]) == {intent(1).serial: Good()}


def test_asking_for_nothing(reader: StatusReader) -> None:
    assert reader.statuses(ISSUER, []) == {}


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, (1 << 160) - 1).map(Serial))
def test_a_serial_that_was_not_assigned_is_never_good(reader: StatusReader, serial: Serial) -> None:
    assert reader.statuses(ISSUER, [serial]) == {serial: Unknown()}


def test_authorities(database: Database, reader: StatusReader) -> None:
    made = Hierarchy()
    with_certificates = [
        IssuerRecord("root-1", Kind.ROOT, "root-1", made.root.certificate.public_bytes(Encoding.DER), NOW),
        IssuerRecord("issuing-2", Kind.ISSUING, "issuing-2", made.issuer.certificate.public_bytes(Encoding.DER), NOW),
    ]

    def act(connection: Connection) -> None:
        connection.execute(text("DELETE FROM revisions"))
        connection.execute(text("DELETE FROM issuers"))
        for record in with_certificates:
            issuers.add(connection, record)

    written(database, act)
    assert [(one.id, one.kind, one.certificate) for one in reader.authorities()] == [
        ("root-1", "root", made.root.certificate),
        ("issuing-2", "issuing", made.issuer.certificate),
    ]


def test_the_responder_is_the_newest_one_in_force(database: Database, reader: StatusReader) -> None:
    made = Hierarchy()
    assert reader.responders(ISSUER, NOW) == []
    draft = certificate.to_be_signed(made.contents(Kind.RESPONDER), intent(1).serial, made.issuer)
    one = replace(intent(1), kind=Kind.RESPONDER, to_be_signed=draft)
    [signature] = made.signer.sign(made.issuer.public_key, [draft.tbs]).result()

    def act(connection: Connection) -> None:
        certificates.intend(connection, [one])
        certificates.record(connection, [Result(one, signature, one.key)])

    written(database, act)
    [found] = reader.responders(ISSUER, NOW)
    found.certificate.verify_directly_issued_by(made.issuer.certificate)
    assert reader.responders(ISSUER, one.not_after) == [], "no response outlives its signer"
    assert reader.responders("root-1", NOW) == []


def test_lists(database: Database, reader: StatusReader) -> None:
    assert reader.crl(ISSUER) is None
    written(database, lambda connection: crls.put(connection, crl(1)))
    written(database, lambda connection: crls.put(connection, crl(2, shard=1)))
    assert reader.crl(ISSUER) == crl(1)
    assert reader.crl(ISSUER, 1) == crl(2, shard=1)
    assert reader.crl("nobody") is None
    full, shard = crl(1), crl(2, shard=1)
    with database.read() as connection:
        assert reader.lists() == crls.headings(connection)
    assert [(one.shard, one.number) for one in reader.lists()] == [(0, full.number), (1, shard.number)]


def test_the_version_differs_after_what_changes_an_answer_and_after_nothing_else(
    database: Database, reader: StatusReader
) -> None:
    """Case 13: what is cached by version is gone once a revocation is committed, and stays while others enrol."""
    before = reader.version()
    reader.statuses(ISSUER, [intent(1).serial])
    issue(database, intent(1), intent(2))
    written(database, lambda connection: tokens.add(connection, token()))
    assert reader.version() == before
    seen = [before]
    for change in (
        lambda: revoke(database, 1),
        lambda: hold(database, intent(2)),
        lambda: release(database, intent(2)),
        lambda: written(database, lambda connection: crls.put(connection, crl(1))),
        lambda: written(database, lambda connection: crls.put(connection, crl(2))),
        lambda: written(database, lambda connection: crls.put(connection, crl(3, shard=1))),
    ):
        change()
        seen.append(reader.version())
        assert reader.version() == seen[-1]
    assert len(set(map(str, seen))) == len(seen)


def test_a_revocation_is_seen_by_the_next_question(database: Database, reader: StatusReader) -> None:
    issue(database, intent(1))
    assert reader.statuses(ISSUER, [intent(1).serial]) == {intent(1).serial: Good()}
    revoke(database, 1)
    assert reader.statuses(ISSUER, [intent(1).serial]) == {intent(1).serial: Revoked(NOW, COMPROMISED)}


def test_the_reader_cannot_write(reader: StatusReader) -> None:
    with reader._engine.connect() as connection, pytest.raises(DBAPIError, match=r"read-?only"):
        connection.execute(text("DELETE FROM revocations"))
    reader.version()
    assert reader._watch is not None
    with pytest.raises(DBAPIError, match=r"read-?only"):
        reader._watch.execute(text("DELETE FROM revocations"))


def test_an_expired_certificate_keeps_its_status(database: Database, reader: StatusReader) -> None:
    """RFC 6960 says nothing of expiry: who asks about an old signature is told the truth."""
    issue(database, intent(1, not_after=NOW - timedelta(days=9)))
    assert reader.statuses(ISSUER, [intent(1).serial]) == {intent(1).serial: Good()}
