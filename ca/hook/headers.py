"""What a gateway's headers say: the client certificate that it verified, and the call. Octets to values, and no guess.

Everything that is not exactly one certificate in the one form that was configured is malformed.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from enum import StrEnum
from urllib.parse import unquote_to_bytes

from ca.hook.inquiry import OfThumbprint
from ca.identifiers import Thumbprint
from ca.refusals import Reason, Refused

MAX_OCTETS = 32 * 1024
"""Of a certificate's header: the largest that an agent has is below 8 KiB, and three octets may stand for one."""


class Form(StrEnum):
    """How a proxy writes the certificate."""

    RFC9440 = "rfc9440"
    """`:base64 of the DER:` (RFC 9440 2.1): Caddy, HAProxy."""
    ESCAPED_PEM = "escaped-pem"
    """Percent-encoded PEM: `$ssl_client_escaped_cert` of nginx."""
    XFCC = "xfcc"
    """`x-forwarded-client-cert` of Envoy."""


_BYTE_SEQUENCE = re.compile(rb":([A-Za-z0-9+/]+={0,2}):")  # RFC 8941 3.3.5, with its padding
_PERCENT_ENCODED = re.compile(rb"(?:[\x21-\x24\x26-\x7e]|%[0-9A-Fa-f]{2})+")
_PEM = re.compile(
    rb"-----BEGIN CERTIFICATE-----\r?\n((?:[A-Za-z0-9+/]{1,76}={0,2}\r?\n)+)-----END CERTIFICATE-----(?:\r?\n)?"
)
_PRINTABLE = re.compile(rb"[\x20-\x7e]+")
_PAIR = re.compile(rb'\s*([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;]*))\s*')
_SHA256_HEX = re.compile(rb"[0-9A-Fa-f]{64}")
_ENCODED_WORD = re.compile(r"=\?base64\?(.*)\?=")
_PRINTABLE_WORD = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


def certificate(form: Form, value: bytes) -> OfThumbprint:
    """The certificate in a header's value. Raises `Refused(MALFORMED)`."""
    if len(value) > MAX_OCTETS:
        raise _malformed(f"is longer than {MAX_OCTETS // 1024} KiB")
    match form:
        case Form.RFC9440:
            return _whole(_rfc9440(value))
        case Form.ESCAPED_PEM:
            return _whole(_escaped_pem(value))
        case Form.XFCC:
            return _xfcc(value)


def word(value: bytes) -> str:
    """The value of `Mcp-Method` or `Mcp-Name`, decoded where it is encoded (MCP 2026-07-28).

    Raises `Refused(MALFORMED)`.
    """
    text = value.decode("latin-1").strip(" \t")
    encoded = _ENCODED_WORD.fullmatch(text)
    try:
        if encoded is not None:
            return b64decode(encoded[1], validate=True).decode()
    except ValueError as error:
        raise _malformed("is not base64 of UTF-8") from error
    if not _PRINTABLE_WORD.fullmatch(text):
        raise _malformed("is not printable ASCII")
    return text


def _whole(der: bytes) -> OfThumbprint:
    return OfThumbprint(Thumbprint.of(der), der)


def _rfc9440(value: bytes) -> bytes:
    sequence = _BYTE_SEQUENCE.fullmatch(value.strip(b" "))
    if sequence is None:
        raise _malformed("is not base64 between colons (RFC 9440)")
    return _base64(sequence[1])


def _escaped_pem(value: bytes) -> bytes:
    if not _PERCENT_ENCODED.fullmatch(value):
        raise _malformed("is not percent-encoded")
    pem = _PEM.fullmatch(unquote_to_bytes(value))
    if pem is None:
        raise _malformed("is not one certificate in PEM")
    return _base64(b"".join(pem[1].split()))


def _xfcc(value: bytes) -> OfThumbprint:
    """The last element is our own proxy's: those before it are what others wrote, whoever they were."""
    if not _PRINTABLE.fullmatch(value):
        raise _malformed("holds more than printable ASCII")
    said: dict[bytes, bytes] = {}
    for name, text in _last_element(value):
        if name in said and name in (b"hash", b"cert"):
            raise _malformed(f"has two {name.decode()} in one element")
        said[name] = text
    whole = _whole(_escaped_pem(said[b"cert"])) if b"cert" in said else None
    if b"hash" not in said:
        if whole is None:
            raise _malformed("has neither Hash nor Cert in its last element")
        return whole
    if not _SHA256_HEX.fullmatch(said[b"hash"]):
        raise _malformed("has a Hash that is not SHA-256 in hexadecimal digits")
    x5t = Thumbprint.parse(said[b"hash"].decode())
    if whole is not None and whole.x5t != x5t:
        raise _malformed("has a Hash that is not its Cert's")
    return whole or OfThumbprint(x5t)


def _last_element(value: bytes) -> list[tuple[bytes, bytes]]:
    """Its pairs, the names in lower case. A comma or a semicolon in quotes divides nothing."""
    pairs: list[tuple[bytes, bytes]] = []
    for name, text, ends in _pairs(value):
        pairs.append((name, text))
        if ends == b",":
            pairs = []
    return pairs


def _pairs(value: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Each pair, and what divides it from the next one. Raises `Refused(MALFORMED)`."""
    at, ends = 0, b";"
    while ends:
        pair = _PAIR.match(value, at)
        if pair is None:
            raise _malformed("is not pairs of a name and a value")
        at, ends = pair.end() + 1, value[pair.end() : pair.end() + 1]
        if ends not in (b";", b",", b""):
            raise _malformed("has something behind a quotation")
        yield pair[1].lower(), pair[3] if pair[2] is None else _unquoted(pair[2]), ends


def _unquoted(text: bytes) -> bytes:
    return re.sub(rb"\\(.)", rb"\1", text)


def _base64(text: bytes) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError as error:
        raise _malformed("is not base64") from error


def _malformed(what: str) -> Refused:
    return Refused(Reason.MALFORMED, f"The header {what}.")
