from __future__ import annotations

import pytest

from ca.pki.profile import Kind
from ca.refusals import Reason, Refused
from ca.store import issuers, revocations
from ca.store.transaction import Database
from tests.ca.store.rows import ISSUER, issuer, written


def test_issuers_come_back_the_root_first(database: Database) -> None:
    root = issuer("root-1", Kind.ROOT)
    written(database, lambda connection: issuers.add(connection, root))
    with database.read() as connection:
        assert issuers.everyone(connection) == [root, issuer(ISSUER)]


def test_an_id_is_taken_once(database: Database) -> None:
    with pytest.raises(Refused) as caught:
        written(database, lambda connection: issuers.add(connection, issuer(ISSUER)))
    assert caught.value.reason is Reason.CONFLICT


def test_a_new_issuer_has_a_revision_that_no_list_covers(database: Database) -> None:
    """A list of before it would stand for revision 0."""
    with database.read() as connection:
        assert revocations.revision(connection, ISSUER) == 1
