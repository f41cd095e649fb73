from __future__ import annotations

import threading
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca.identifiers import Serial, Thumbprint
from ca.proofs import token
from ca.refusals import Reason, Refused
from ca.store import schema, tokens
from ca.store.tokens import TokenRecord
from ca.store.transaction import Database
from tests.ca.store.rows import AGENT, NOW, TASK, TENANT, written
from tests.ca.store.rows import token as row

TEXT = token.mint(bytes(range(32)))
HASH = token.hash_of(TEXT)
KEY, OTHER_KEY = Thumbprint.of(b"key"), Thumbprint.of(b"other")


@pytest.fixture
def url(tmp_path: Path) -> str:
    made = f"sqlite:///{tmp_path / 'remit.db'}"
    schema.upgrade(made)
    return made


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database(url)
    yield opened
    opened.close()


def stored(database: Database, **changes: object) -> TokenRecord:
    record = row(hash=HASH, **changes)
    written(database, lambda connection: tokens.add(connection, record))
    return record


def prove(database: Database, of: Thumbprint = HASH, key: Thumbprint = KEY, seconds: float = 0) -> token.Proven:
    with database.read() as connection:
        return token.prove(connection, of, key, NOW + timedelta(seconds=seconds))


def refusal(database: Database, of: Thumbprint = HASH, key: Thumbprint = KEY, seconds: float = 0) -> Refused:
    with pytest.raises(Refused) as caught:
        prove(database, of, key, seconds)
    assert caught.value.reason is Reason.TOKEN_INVALID
    return caught.value


@given(st.binary(min_size=32, max_size=32))
def test_a_token_is_its_prefix_and_256_bits(random: bytes) -> None:
    text = token.mint(random)
    assert text.startswith("remit_et_")
    assert urlsafe_b64decode(text.removeprefix("remit_et_") + "=") == random
    assert token.hash_of(text) == Thumbprint.of(text.encode())


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_token_is_never_made_of_less(length: int) -> None:
    with pytest.raises(ValueError, match="32 random octets"):
        token.mint(bytes(length))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "remit_et_",
        TEXT[:-1],
        TEXT + "A",
        TEXT + "\n",
        " " + TEXT,
        TEXT.upper(),
        TEXT.replace("remit_et_", "remit_xx_"),
        "Bearer " + TEXT,
        TEXT[:-1] + "+",
        TEXT[:-1] + "=",
        TEXT[:-1] + "\0",
        TEXT[:-1] + "\u0430",
        "eyJhbGciOiJub25lIn0.e30.",
        "remit_et_" + "A" * 100_000,
    ],
)
def test_another_text_is_no_token(text: str) -> None:
    with pytest.raises(Refused) as caught:
        token.hash_of(text)
    assert caught.value.reason is Reason.TOKEN_INVALID


def test_a_token_proves_for_whom_it_was_made(database: Database) -> None:
    stored(database)
    assert prove(database) == token.Proven(TENANT, AGENT, TASK, HASH)


def test_proving_does_not_spend(database: Database) -> None:
    stored(database)
    assert prove(database) == prove(database)


def test_a_bound_token_proves_with_its_key_alone(database: Database) -> None:
    stored(database, key=KEY)
    assert prove(database, key=KEY)
    refusal(database, key=OTHER_KEY)


def test_every_failure_has_one_answer(database: Database) -> None:
    """It tells a stranger nothing: unknown, expired, spent and bound to another key sound the same."""
    unknown = refusal(database)
    stored(database, key=KEY)
    expired, bound = refusal(database, seconds=300), refusal(database, key=OTHER_KEY)
    proven = prove(database)
    written(database, lambda connection: token.spend(connection, proven, Serial(1), NOW))
    spent = refusal(database)
    malformed = token.refused()
    assert {one.detail for one in (unknown, expired, bound, spent, malformed)} == {unknown.detail}


@pytest.mark.parametrize(("seconds", "expired"), [(299.999, False), (300, True), (301, True)])
def test_a_token_ends_at_its_second(database: Database, seconds: float, expired: bool) -> None:
    stored(database)
    if expired:
        refusal(database, seconds=seconds)
    else:
        assert prove(database, seconds=seconds)


def test_a_token_is_spent_once(database: Database) -> None:
    stored(database)
    proven = prove(database)
    written(database, lambda connection: token.spend(connection, proven, Serial(1), NOW))
    with pytest.raises(Refused) as caught:
        written(database, lambda connection: token.spend(connection, proven, Serial(2), NOW))
    assert caught.value.reason is Reason.TOKEN_INVALID


@pytest.mark.parametrize("attempt", range(5))
def test_of_two_that_race_one_spends(url: str, database: Database, attempt: int) -> None:
    """Case 12: both proved it, on two replicas, before either spent it."""
    stored(database)
    proven = prove(database)
    other = Database(url)
    start = threading.Barrier(2)
    outcomes: list[Reason | int] = []

    def race(mine: Database, serial: int) -> None:
        start.wait(10)
        try:
            written(mine, lambda connection: token.spend(connection, proven, Serial(serial), NOW))
            outcomes.append(serial)
        except Refused as refused:
            outcomes.append(refused.reason)

    threads = [threading.Thread(target=race, args=args) for args in ((database, 1), (other, 2))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    other.close()
    assert outcomes.count(Reason.TOKEN_INVALID) == 1
    [winner] = [outcome for outcome in outcomes if isinstance(outcome, int)]
    with database.read() as connection:
        kept = tokens.find(connection, HASH)
    assert kept is not None
    assert kept.spent_on == Serial(winner)


def test_the_token_itself_is_nowhere_in_the_database(database: Database, tmp_path: Path) -> None:
    """A stolen database opens nothing: neither the text nor its random octets are in any file."""
    stored(database)
    written(database, lambda connection: token.spend(connection, prove(database), Serial(1), NOW))
    contents = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert HASH.digest in contents
    assert TEXT.encode() not in contents
    assert bytes(range(32)) not in contents
