"""What the CAs published, as it is: their CRLs and their certificates (RFC 5280 4.2.1.13, 4.2.2.1, 5.2.4)."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from itertools import chain

from cryptography.hazmat.primitives.serialization import Encoding

from ca.batch import Shared
from ca.refusals import Reason, Refused
from ca.store.crls import Heading
from ocsp.cache import Cache, Entry
from ocsp.document import CERTIFICATE, CRL, PEM, Document, Life, away, problem
from ocsp.view import PublishedCrl, View

_KEPT_OCTETS = 256 << 20
_DAY = timedelta(days=1)
_RANGES = ((b"accept-ranges", b"bytes"),)
_FULL = 0

NOT_FOUND = problem(HTTPStatus.NOT_FOUND, Reason.NOT_FOUND, "There is nothing at this path.")
_NOT_READ = away("The database has not been read yet.")
_NOT_ALL = away("Not every authority has published a list yet.")
_RUN_OUT = away("The list in force has run out; the authority has not published a newer one.")

_LINE = 48  # octets: 64 characters
_BLOCK = 1024 * _LINE


class Publications:
    """`freshness` is how long others may keep a CRL: a newer one may be published at any time before its end."""

    def __init__(
        self, view: View, freshness: timedelta, clock: Callable[[], datetime], kept_octets: int = _KEPT_OCTETS
    ) -> None:
        self._view = view
        self._freshness = freshness
        self._clock = clock
        self._lists = Cache(kept_octets)
        self._shared: Shared[Document] = Shared()

    def certificate(self, authority_id: str) -> Document:
        """The certificate of a CA in DER, which never changes."""
        directory = self._view.directory
        if directory is None:
            return _NOT_READ
        authority = directory.authorities.get(authority_id)
        if authority is None:
            return NOT_FOUND
        now = self._clock()
        der = authority.certificate.public_bytes(Encoding.DER)
        return Document(der, CERTIFICATE, Life(authority.certificate.not_valid_before_utc, now + _DAY), extra=_RANGES)

    async def crl(self, authority_id: str, shard: int) -> Document:
        """A CRL in DER: the full list 0, a shard, or the delta -1. One that has run out is not served."""
        directory = self._view.directory
        if directory is None:
            return _NOT_READ
        wanted = directory.lists.get((authority_id, shard))
        return NOT_FOUND if wanted is None else await self._document(CRL, [wanted])

    async def bundle(self) -> Document:
        """The full lists in PEM, the root's last: who checks each level of a chain needs all of them."""
        directory = self._view.directory
        if directory is None:
            return _NOT_READ
        lists = [directory.lists.get((one, _FULL)) for one in reversed(list(directory.authorities))]
        wanted = [one for one in lists if one is not None]
        return await self._document(PEM, wanted) if wanted and len(wanted) == len(lists) else _NOT_ALL

    async def _document(self, media_type: str, wanted: list[Heading]) -> Document:
        now = self._clock()
        if min(one.next_update for one in wanted) <= now:
            return _RUN_OUT
        name = (media_type, *((one.issuer, one.shard) for one in wanted))
        entry = self._lists.alive(name, now)
        if entry is not None and entry.grounds == wanted:
            return entry.document
        try:
            document = await self._shared.wait((name, *wanted), lambda: self._fetched(media_type, wanted))
        except Refused as refused:
            return away(f"The database cannot be read. {refused.detail}")
        if document.life:
            self._lists.put(name, Entry(document, document.life, document.life.until, 0, wanted))
        return document

    async def _fetched(self, media_type: str, wanted: list[Heading]) -> Document:
        """Read, put together and hashed away from the event loop. Raises `Refused(UNAVAILABLE)`."""

        def make(read: Callable[[str, int], PublishedCrl | None]) -> Document:
            found = [crl for one in wanted if (crl := read(one.issuer, one.shard))]
            if len(found) < len(wanted):
                return NOT_FOUND
            life = Life(max(one.this_update for one in found), min(one.next_update for one in found))
            body = _in_pem(found) if media_type == PEM else found[0].der
            return Document(body, media_type, life, self._freshness, extra=_RANGES)

        return await self._view.fetch(make)


def _in_pem(lists: Sequence[PublishedCrl]) -> bytes:
    """RFC 7468 5."""
    return b"".join(chain.from_iterable(_armoured(one.der) for one in lists))


def _armoured(der: bytes) -> Iterator[bytes]:
    """In steps: who holds the interpreter for 40 MB at a time keeps every answer waiting."""
    yield b"-----BEGIN X509 CRL-----\n"
    for block in range(0, len(der), _BLOCK):
        end = min(block + _BLOCK, len(der))
        yield b"".join([b2a_base64(der[at : min(at + _LINE, end)]) for at in range(block, end, _LINE)])
    yield b"-----END X509 CRL-----\n"
