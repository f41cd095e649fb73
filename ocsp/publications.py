"""What the CAs published, as it is: their CRLs and their certificates (RFC 5280 4.2.1.13, 4.2.2.1)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from http import HTTPStatus

from cryptography.hazmat.primitives.serialization import Encoding

from ca.refusals import Reason, Refused
from ocsp.cache import Cache, Entry
from ocsp.document import CERTIFICATE, CRL, Document, Life, away, problem
from ocsp.view import View

_KEPT_LISTS = 256
_DAY = timedelta(days=1)

NOT_FOUND = problem(HTTPStatus.NOT_FOUND, Reason.NOT_FOUND, "There is nothing at this path.")
_NOT_READ = away("The database has not been read yet.")
_RUN_OUT = away("The list in force has run out; the authority has not published a newer one.")


class Publications:
    """`freshness` is how long others may keep a CRL: a newer one may be published at any time before its end."""

    def __init__(self, view: View, freshness: timedelta, clock: Callable[[], datetime]) -> None:
        self._view = view
        self._freshness = freshness
        self._clock = clock
        self._lists = Cache(_KEPT_LISTS)

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
        return Document(der, CERTIFICATE, Life(authority.certificate.not_valid_before_utc, now + _DAY))

    async def crl(self, authority_id: str, shard: int) -> Document:
        """A CRL in DER. One that has run out is not served."""
        directory = self._view.directory
        if directory is None:
            return _NOT_READ
        if authority_id not in directory.authorities:
            return NOT_FOUND
        now, generation, name = self._clock(), self._view.generation, (authority_id, shard)
        return self._lists.current(name, generation, now) or await self._read(name, generation)

    async def _read(self, name: tuple[str, int], generation: int) -> Document:
        now = self._clock()
        try:
            published = await self._view.crl(*name)
        except Refused as refused:
            # What was published stays true until its own end.
            entry = self._lists.alive(name, now)
            return away(f"The database cannot be read. {refused.detail}") if entry is None else entry.document
        if published is None:
            return NOT_FOUND
        if published.next_update <= now:
            return _RUN_OUT
        kept_until = min(published.next_update, now + self._freshness)
        document = Document(published.der, CRL, Life(published.this_update, kept_until))
        life = Life(published.this_update, published.next_update)
        self._lists.put(name, Entry(document, life, kept_until, generation))
        return document
