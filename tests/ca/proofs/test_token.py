from __future__ import annotations

from base64 import urlsafe_b64decode
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
from tests.ca.store.rows import NOW, written
from tests.ca.store.rows import token as row

TEXT = token.mint(bytes(range(32)))
HASH = token.hash_of(TEXT)
KEY, OTHER_KEY = Thumbprint.of(b"key"), Thumbprint.of(b"other")


def prove(record: TokenRecord | None, key: Thumbprint = KEY, seconds: float = 0) -> TokenRecord:
    return token.check(record, key, NOW + timedelta(seconds=seconds))


def refusal(record: TokenRecord | None, key: Thumbprint = KEY, seconds: float = 0) -> Refused:
    with pytest.raises(Refused) as caught:
        prove(record, key, seconds)
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


def test_a_token_proves_for_whom_it_was_made() -> None:
    assert prove(row(hash=HASH)) == row(hash=HASH)


def test_a_bound_token_proves_with_its_key_alone() -> None:
    assert prove(row(key=KEY), key=KEY)
    refusal(row(key=KEY), key=OTHER_KEY)


def test_every_failure_has_one_answer() -> None:
    """It tells a stranger nothing: unknown, expired, spent and bound to another key sound the same."""
    unknown, spent = refusal(None), refusal(row(spent_on=Serial(1)))
    expired, bound = refusal(row(), seconds=300), refusal(row(key=KEY), key=OTHER_KEY)
    malformed = token.refused()
    assert {one.detail for one in (unknown, expired, bound, spent, malformed)} == {unknown.detail}


@pytest.mark.parametrize(("seconds", "expired"), [(299.999, False), (300, True), (301, True)])
def test_a_token_ends_at_its_second(seconds: float, expired: bool) -> None:
    if expired:
        refusal(row(), seconds=seconds)
    else:
        assert prove(row(), seconds=seconds)


def test_the_token_itself_is_nowhere_in_the_database(tmp_path: Path) -> None:
    """A stolen database opens nothing: neither the text nor its random octets are in any file."""
    url = f"sqlite:///{tmp_path / 'remit.db'}"
    schema.upgrade(url)
    database = Database(url)
    written(database, lambda connection: tokens.add(connection, row(hash=HASH)))
    written(database, lambda connection: tokens.spend(connection, {HASH: Serial(1)}, NOW))
    database.close()
    contents = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert HASH.digest in contents
    assert TEXT.encode() not in contents
    assert bytes(range(32)) not in contents
