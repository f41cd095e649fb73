"""Keys whose private half is public: Debian's of 2006 to 2008, those in firmware, in documents, in repositories.

The list is the file that badkeys publishes (`badkeys --update-bl`), sorted records of 16 octets: the
first 15 of a key's SHA-256, and the number of the collection that it is in. What is hashed is the key's
one number, big-endian and without leading zeros: an RSA modulus, an x coordinate, Ed25519's octets.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from hashlib import sha256
from itertools import pairwise
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

_RECORD = 16
_DIGEST = 15


class Octets(Protocol):
    """`bytes`, or a file in memory."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes: ...


class KnownKeys:
    """The list. Raises `ValueError` when the octets are not one: a search in them would find nothing."""

    def __init__(self, octets: Octets) -> None:
        self._octets = octets
        self._places = range(len(octets) // _RECORD)
        if len(octets) % _RECORD or not all(one <= later for one, later in pairwise(self._digests())):
            raise ValueError("not records of 16 octets in order")

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: object) -> bool:
        """Whether the key is on the list: a search by halves, so never more than some thirty looks."""
        number = _number(key) if self._places else None
        if number is None:
            return False
        return self._has(sha256(number.to_bytes((number.bit_length() + 7) // 8, "big")).digest()[:_DIGEST])

    def _has(self, digest: bytes) -> bool:
        place = bisect_left(self._places, digest, key=self._digest)
        return place < len(self._places) and self._digest(place) == digest

    def _digest(self, place: int) -> bytes:
        return self._octets[place * _RECORD : place * _RECORD + _DIGEST]

    def _digests(self) -> Iterator[bytes]:
        return map(self._digest, self._places)


NO_LIST = KnownKeys(b"")


def _number(key: object) -> int | None:
    match key:
        case rsa.RSAPublicKey():
            return key.public_numbers().n
        case ec.EllipticCurvePublicKey():
            return key.public_numbers().x
        case ed25519.Ed25519PublicKey():
            return int.from_bytes(key.public_bytes_raw(), "big")
        case _:
            return None
