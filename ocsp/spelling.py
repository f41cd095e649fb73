"""CORE. A request in a URL: base64 as clients write it and as proxies leave it (RFC 6960 A.1, RFC 5019 5).

Seen in the wild: percent-encoded or not, `+` turned into a space, the URL-safe alphabet, no padding,
a slash too many in front, and `//` merged into `/`. The last one loses a character of the request;
the length in the DER's header tells how many are missing, and each slash may be where.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations, combinations_with_replacement, islice
from urllib.parse import unquote_to_bytes

from ocsp.request import MAX_OCTETS

MAX_CHARACTERS = 4 * MAX_OCTETS
"""The longest text that is read: a request of `MAX_OCTETS` with every third character percent-encoded."""

_ALPHABET = bytes.maketrans(b"-_ ", b"+/+")
_MOST_LOST = 5
_MOST_SPELLINGS = 256
_SEQUENCE = 0x30


@lru_cache(maxsize=16384)
def kept_spellings(text: bytes) -> Sequence[bytes]:
    """`spellings` for a short text, such as is asked again and again."""
    return spellings(text)


def spellings(text: bytes) -> Sequence[bytes]:
    """Every request that this text can mean, the plain reading first; none if it means nothing.

    At most 256. More than one only where a proxy merged slashes: the caller knows which of them
    names a certificate that exists. A wrong guess harms nobody, since the answer repeats the CertID.
    """
    base64 = unquote_to_bytes(text).translate(_ALPHABET).lstrip(b"/").rstrip(b"=\r\n")
    lost = _length(base64) - len(base64)
    if not 0 <= lost <= _MOST_LOST:
        return []
    restored = islice(_restored(base64, lost), _MOST_SPELLINGS)
    return [der for spelling in dict.fromkeys(restored) if (der := _decoded(spelling))]


def _restored(base64: bytes, lost: int) -> Iterator[bytes]:
    """The text with `lost` slashes put back beside those that are there: in as few places as may be first."""
    if not lost:
        yield base64
        return
    slashes = [at for at, character in enumerate(base64) if character == ord("/")]
    for many in range(1, lost + 1):
        for places in combinations(slashes, many):
            for again in combinations_with_replacement(places, lost - many):
                whole = base64
                for at in sorted(places + again, reverse=True):
                    whole = whole[:at] + b"/" + whole[at:]
                yield whole


def _length(base64: bytes) -> int:
    """How many characters, unpadded, the DER's own header announces; 0 if that is not a SEQUENCE."""
    head = _decoded(base64[:8])
    if len(head) < 5 or head[0] != _SEQUENCE:
        return 0
    size = {0x81: 3 + head[2], 0x82: 4 + int.from_bytes(head[2:4], "big")}.get(head[1], 2 + head[1])
    return -(-size * 8 // 6)


def _decoded(base64: bytes) -> bytes:
    try:
        return b64decode(base64 + b"=" * (-len(base64) % 4), validate=True)
    except Error:
        return b""
