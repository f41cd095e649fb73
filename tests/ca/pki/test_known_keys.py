"""Case 31: keys whose private half is public (Debian's among them). badkeys, whose file it is, is the judge."""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import badkeys
import pytest
from badkeys.allkeys import block as judge
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from ca.pki.keys import PublicKey
from ca.pki.known_keys import NO_LIST, KnownKeys
from tests.ca.pki.known import listed, record

KEYS: dict[str, PublicKey] = {
    "RSA": rsa.generate_private_key(65537, 2048).public_key(),
    "P-256": ec.generate_private_key(ec.SECP256R1()).public_key(),
    "P-384": ec.generate_private_key(ec.SECP384R1()).public_key(),
    "Ed25519": ed25519.Ed25519PrivateKey.generate().public_key(),
}
OTHERS = [b"%d" % number for number in range(1000)]

Judge = Callable[[PublicKey], bool]


@pytest.fixture
def by_badkeys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], Judge]]:
    """badkeys' own reading of a list."""
    monkeypatch.setattr(judge, "_cachedir", lambda: str(tmp_path))
    monkeypatch.setattr(judge, "_blmeta", False)
    monkeypatch.setattr(judge, "_bldata", False)
    (tmp_path / "badkeysdata.json").write_text(json.dumps({"blocklists": [{"id": 1, "name": "debianssl"}]}))

    def over(octets: bytes) -> Judge:
        (tmp_path / "blocklist.dat").write_bytes(octets)

        def says(key: PublicKey) -> bool:
            pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
            found: dict[str, Any] = badkeys.checkpubkey(pem, checks=["blocklist"])
            return "blocklist" in found["results"]

        return says

    yield over
    if judge._bldata:
        judge._bldata.close()


@pytest.mark.parametrize("name", KEYS)
def test_a_listed_key_is_found_as_badkeys_finds_it(name: str, by_badkeys: Callable[[bytes], Judge]) -> None:
    octets = listed(KEYS[name], others=OTHERS)
    known, says = KnownKeys(octets), by_badkeys(octets)
    assert len(known) == 1001
    for other, key in KEYS.items():
        assert (key in known) == says(key) == (other == name)


@given(places=st.sets(st.binary(min_size=15, max_size=15), max_size=40), probe=st.binary(min_size=15, max_size=15))
def test_every_place_is_found_first_and_last_too(places: set[bytes], probe: bytes) -> None:
    known = KnownKeys(b"".join(one + b"\x01" for one in sorted(places)))
    assert [known._digest(place) for place in range(len(known))] == sorted(places)
    for one in (*places, probe):
        assert known._has(one) == (one in places)


def test_a_search_is_by_halves() -> None:
    octets = Counted(listed(others=[b"%d" % number for number in range(4096)]))
    known = KnownKeys(octets)
    octets.looks = 0
    assert KEYS["RSA"] not in known
    assert octets.looks <= 14


class Counted:
    def __init__(self, octets: bytes) -> None:
        self.octets, self.looks = octets, 0

    def __len__(self) -> int:
        return len(self.octets)

    def __getitem__(self, part: slice) -> bytes:
        self.looks += 1
        return self.octets[part]


def test_a_key_whose_number_begins_with_zeros_is_hashed_without_them(by_badkeys: Callable[[bytes], Judge]) -> None:
    key = ed25519.Ed25519PublicKey.from_public_bytes(bytes(2) + bytes(range(1, 31)))
    octets = record(sha256(bytes(range(1, 31))).digest())
    assert key in KnownKeys(octets)
    assert by_badkeys(octets)(key)


def test_a_file_in_memory_is_a_list(tmp_path: Path) -> None:
    file = tmp_path / "blocklist.dat"
    file.write_bytes(listed(*KEYS.values(), others=OTHERS))
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as octets:
        known = KnownKeys(octets)
        assert all(key in known for key in KEYS.values())


def test_nothing_else_is_ever_in_it() -> None:
    assert all(key not in NO_LIST for key in KEYS.values())
    assert None not in KnownKeys(listed(others=OTHERS))


@pytest.mark.parametrize(
    "octets",
    [b"x", listed(others=OTHERS)[:-1], listed(others=OTHERS)[::-1], record(b"\x02" * 15) + record(b"\x01" * 15)],
    ids=["text", "cut off", "backwards", "out of order"],
)
def test_what_is_not_a_list_is_not_taken_for_one(octets: bytes) -> None:
    with pytest.raises(ValueError, match="in order"):
        KnownKeys(octets)
