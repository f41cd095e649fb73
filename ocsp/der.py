"""CORE. A strict reader of DER (X.690 10): its own, so that what made some bytes is not what checks them.

Definite lengths in their shortest form, single-octet tags, nothing left over. It is for our own
short structures; what strangers send is read by `ocsp.request`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

_LONGEST_LENGTH = 3


class NotDer(ValueError):  # noqa: N818 (a verdict on bytes)
    """These bytes are not what they should be, or not in the one way in which DER writes it."""


class Tag:
    """Identifier octets (X.690 8.1.2, 8.14): universal ones, and of a context `[0]`, `[1]`, `[2]`."""

    BOOLEAN, OCTET_STRING, NULL, OID, ENUMERATED, TIME, SEQUENCE = 0x01, 0x04, 0x05, 0x06, 0x0A, 0x18, 0x30
    PLAIN_0, PLAIN_2 = 0x80, 0x82
    WRAPPED_0, WRAPPED_1, WRAPPED_2 = 0xA0, 0xA1, 0xA2


Element = tuple[int, bytes, bytes]
"""One element: its identifier octet, its contents, and the whole of it."""


def elements(octets: bytes) -> list[Element]:
    """What stands one after the other in `octets`, to the last octet. Raises `NotDer`."""
    found = []
    at, end = 0, len(octets)
    while at < end:
        start, stop = _contents(octets, at)
        if stop > end:
            raise NotDer("longer than what it stands in")
        found.append((octets[at], octets[start:stop], octets[at:stop]))
        at = stop
    return found


def only(octets: bytes, tag: int) -> bytes:
    """The contents of the one element that `octets` is. Raises `NotDer`."""
    match elements(octets):
        case [(found, contents, _)] if found == tag:
            return contents
        case _:
            raise NotDer(f"not one element with the tag {tag:#04x}")


@lru_cache(maxsize=4096)
def moment(contents: bytes) -> datetime:
    """A GeneralizedTime to the second, in UTC (RFC 5280 4.1.2.5.2: no fraction, `Z`). Raises `NotDer`."""
    if len(contents) != 15 or not contents[:14].isdigit() or contents[14:] != b"Z":
        raise NotDer("not a GeneralizedTime of whole seconds in UTC")
    hour, minute, second = int(contents[8:10]), int(contents[10:12]), int(contents[12:14])
    try:
        return datetime(int(contents[:4]), int(contents[4:6]), int(contents[6:8]), hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise NotDer("no such moment") from error


def _contents(octets: bytes, at: int) -> tuple[int, int]:
    """Where the contents of the element at this place begin and end (X.690 8.1.3, 10.1)."""
    try:
        length, start = octets[at + 1], at + 2
    except IndexError as error:
        raise NotDer("a tag without a length") from error
    if length < 0x80:
        return start, start + length
    count = length & 0x7F
    length = int.from_bytes(octets[start : start + count])
    if not 1 <= count <= _LONGEST_LENGTH or length < 0x80 or length >> 8 * (count - 1) == 0:
        raise NotDer("a length that is indefinite, or not in its shortest form")
    return start + count, start + count + length
