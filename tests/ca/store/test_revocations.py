from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509

from ca.authority.revoke import REASONS
from ca.store import revocations
from ca.store.certificates import Intent
from ca.store.revocations import Revocation
from ca.store.transaction import Database
from tests.ca.store.rows import ISSUER, NOW, intent, issue, written

LATER = NOW + timedelta(seconds=5)
LONG_AGO = NOW - timedelta(days=1)
COMPROMISED = x509.ReasonFlags.key_compromise
SUPERSEDED = x509.ReasonFlags.superseded


def revoke(database: Database, *intents: Intent, reason: x509.ReasonFlags = COMPROMISED, late: bool = False) -> int:
    at = LATER if late else NOW
    return written(database, lambda connection: revocations.add(connection, intents, at, reason))


def listed(database: Database, shard: int = 0, issuer: str = ISSUER) -> list[Revocation]:
    with database.read() as connection:
        return revocations.entries(connection, issuer, shard, LONG_AGO)


@pytest.mark.parametrize("reason", REASONS.values(), ids=REASONS.keys())
def test_a_revocation_comes_back_with_its_reason(database: Database, reason: x509.ReasonFlags) -> None:
    issue(database, intent(1))
    assert revoke(database, intent(1), reason=reason) == 1
    assert listed(database) == [Revocation(intent(1).serial, NOW, reason)]


def test_a_revocation_is_written_once_and_never_changed(database: Database) -> None:
    """Case 19: neither date nor reason moves."""
    issue(database, intent(1), intent(2))
    assert revoke(database, intent(1)) == 1
    assert revoke(database, intent(1), intent(2), reason=SUPERSEDED, late=True) == 1
    assert listed(database) == [
        Revocation(intent(1).serial, NOW, COMPROMISED),
        Revocation(intent(2).serial, LATER, SUPERSEDED),
    ]


def test_revoking_nothing_is_nothing(database: Database) -> None:
    assert revoke(database) == 0
    assert listed(database) == []


def test_entries_are_in_order_of_serial(database: Database) -> None:
    for number in (300, 2, 255, 1 << 140):
        issue(database, intent(number))
        revoke(database, intent(number))
    assert [one.serial for one in listed(database)] == [intent(n).serial for n in (2, 255, 300, 1 << 140)]


def test_the_full_list_has_all_shards_and_a_shard_its_own(database: Database) -> None:
    for number, shard in ((1, 1), (2, 2), (3, 1)):
        one = intent(number, crl_shard=shard)
        issue(database, one)
        revoke(database, one)
    assert [one.serial.octets[-1] for one in listed(database, 0)] == [1, 2, 3]
    assert [one.serial.octets[-1] for one in listed(database, 1)] == [1, 3]
    assert [one.serial.octets[-1] for one in listed(database, 2)] == [2]
    assert listed(database, issuer="root-1") == []


def test_an_entry_leaves_only_after_its_certificates_end(database: Database) -> None:
    """RFC 5280 3.3: it stays for one list beyond; `publish` says how much that is."""
    one = intent(1)
    issue(database, one)
    revoke(database, one)
    with database.read() as connection:
        assert len(revocations.entries(connection, ISSUER, 0, one.not_after)) == 1
        assert len(revocations.entries(connection, ISSUER, 0, one.not_after + timedelta(seconds=1))) == 0
