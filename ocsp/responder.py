"""The order in which a question becomes an answer: request, statuses, ResponseData, signature, cache.

1. What the bytes ask, and of which CA.
2. What the database says: never "good" for what is not in it.
3. An answer that said the very same is proved again, not signed again.
4. The lint: nothing is signed that is not, octet for octet, what was decided (`ocsp.lint`).
5. The signature, and its check: nothing leaves that the responder's certificate does not vouch for.

Where the database or the signer is away, an answer that is alive and not known to be wrong is
given; else the client is told to try later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from cryptography import x509

from ca.batch import Batch, Shared
from ca.hsm import Signer
from ca.identifiers import Serial
from ca.pki.keys import InvalidSignature, verify
from ca.refusals import Reason, Refused
from ca.store.status import Authority, CertificateStatus, Good, Intended, Revoked
from ocsp.answer import (
    GOOD,
    NEVER_ISSUED,
    UNKNOWN,
    CertStatus,
    Contents,
    Revocation,
    Signatory,
    response,
    response_data,
)
from ocsp.cache import Cache, Entry
from ocsp.directory import Directory
from ocsp.document import INTERNAL_ERROR, MALFORMED, OCSP_RESPONSE, TRY_LATER, UNAUTHORIZED, Document, Life
from ocsp.lint import Linted, lint_response
from ocsp.meter import Meter
from ocsp.metrics import Metrics
from ocsp.request import Malformed, Request, parse
from ocsp.view import Named, View

_log = structlog.get_logger("ocsp")


@dataclass(frozen=True, slots=True)
class Terms:
    """How long an answer is valid, and whether a serial that was never issued is said to be revoked."""

    validity: timedelta
    unissued_is_revoked: bool


@dataclass(frozen=True, slots=True)
class _Question:
    der: bytes
    request: Request
    authority: Authority


# One for each CertID; None for a CertID of another CA than the one that answers.
_Statuses = tuple[CertificateStatus | None, ...]
_Told = tuple[Document, str]


class Responder:
    """Answers what is not in the cache. For one event loop."""

    def __init__(
        self,
        *,
        view: View,
        cache: Cache,
        signer: Signer,
        terms: Terms,
        meter: Meter,
        metrics: Metrics,
        clock: Callable[[], datetime],
    ) -> None:
        self._view = view
        self._cache = cache
        self._signer = signer
        self._terms = terms
        self._meter = meter
        self._metrics = metrics
        self._clock = clock
        self._signatures: Batch[Linted, bytes] = Batch(self._sign)
        self._shared: Shared[_Told] = Shared()

    async def answer(self, spellings: Sequence[bytes]) -> Document:
        """The answer to a request, of which a proxy may have left several spellings; the likeliest comes first."""
        with self._metrics.fresh.time():
            document, outcome = await self._told(spellings)
        self._metrics.answers.labels(outcome).inc()
        return document

    async def _told(self, spellings: Sequence[bytes]) -> _Told:
        """Those who ask the same at the same time wait for one answer, unless the database changed in between."""
        directory = self._view.directory
        if directory is None:
            return TRY_LATER, "try_later"
        understood, refusal = _understand(spellings, directory)
        if not understood:
            return refusal
        name = (self._view.generation, understood[0].der)
        return await self._shared.wait(name, lambda: self._tell(understood, directory))

    async def _tell(self, questions: Sequence[_Question], directory: Directory) -> _Told:
        # Taken before the database is asked: a change in between makes the answer of an older generation.
        generation = self._view.generation
        try:
            found = await self._statuses(questions, directory)
        except Refused:
            entry = self._cache.alive(questions[0].der, self._clock())
            return (entry.document, "kept") if entry and entry.generation == generation else (TRY_LATER, "try_later")
        pairs = list(zip(questions, found, strict=True))
        # Of several spellings one names certificates that exist; it was meant.
        question, statuses = next((pair for pair in pairs if _are_found(pair[1])), pairs[0])
        entry = self._cache.alive(question.der, self._clock())
        if entry is not None and entry.grounds == statuses:
            entry.generation = generation
            if self._clock() < entry.renew_at:
                return entry.document, "proved"
        try:
            return await self._signed(question, statuses, directory, generation)
        except Refused as refused:
            if entry is not None and entry.grounds == statuses:
                return entry.document, "kept"
            # RFC 6960 2.3: a lint that failed is an inconsistent state of ours, and does not pass by waiting.
            is_ours = refused.reason is Reason.LINT_FAILED
            return (INTERNAL_ERROR, "lint_failed") if is_ours else (TRY_LATER, "try_later")

    async def _signed(self, question: _Question, statuses: _Statuses, directory: Directory, generation: int) -> _Told:
        signatory = directory.signatory(question.authority.id, self._clock())
        if signatory is None:
            # Nobody is delegated to answer for a root; an issuing CA's responder is awaited.
            return (TRY_LATER, "try_later") if question.authority.kind == "issuing" else (UNAUTHORIZED, "unauthorized")
        keepable = question.request.nonce is None and _are_final(statuses)
        if not keepable and not self._meter.take():
            return TRY_LATER, "metered"
        now = self._clock()
        life = self._life(signatory, now)
        body = await self._body(self._linted(question.request, statuses, signatory, life, now))
        document = Document(body, OCSP_RESPONSE, life if keepable else None)
        if keepable:
            # From half its life on a new one is tried for, so that no client gets one that is about to end.
            renew_at = life.since + (life.until - life.since) / 2
            self._cache.put(question.der, Entry(document, life, renew_at, generation, statuses))
        for status in statuses:
            self._metrics.certificates.labels(type(status).__name__.lower() if status else "foreign").inc()
        return document, "signed"

    def _life(self, signatory: Signatory, now: datetime) -> Life:
        """From this second, never past the end of the responder's certificate."""
        since = now.replace(microsecond=0)
        return Life(since, min(since + self._terms.validity, signatory.certificate.not_valid_after_utc))

    def _linted(self, request: Request, statuses: _Statuses, signatory: Signatory, life: Life, now: datetime) -> Linted:
        """Raises `Refused(LINT_FAILED)`, also where the check itself breaks: what nobody checked nobody signs."""
        contents = Contents(
            request=request,
            statuses=tuple(self._said(status) for status in statuses),
            produced_at=life.since,
            next_update=life.until,
            extended_revoke=self._terms.unissued_is_revoked,
        )
        try:
            tbs = response_data(signatory, contents)
            return lint_response(tbs, signatory, contents, now=now, longest=self._terms.validity)
        except Exception as error:
            self._metrics.lint_failures.inc()
            _log.error("an answer failed the check before the signature; nothing was signed", exc_info=error)
            raise Refused(Reason.LINT_FAILED, "The check before the signature failed.") from error

    async def _body(self, linted: Linted) -> bytes:
        signatory = linted.signatory
        signature = await self._signatures.ask(linted)
        try:
            verify(signatory.public_key, signature, linted.tbs)
        except InvalidSignature as error:
            self._signer.distrust(signatory.public_key, "It returned a wrong signature over an OCSP answer.")
            raise Refused(Reason.UNAVAILABLE, "The signer returned a signature that does not verify.") from error
        return response(linted.tbs, signature, signatory)

    def _said(self, status: CertificateStatus | None) -> CertStatus:
        match status:
            case Good():
                return GOOD
            case Revoked(at=at, reason=reason):
                return Revocation(at, reason)
            case Intended(at=at):
                # The key may have signed it and the answer may have left: never good, and never unknown either.
                return Revocation(at, x509.ReasonFlags.certificate_hold)
            case None:
                return UNKNOWN
            case _:
                return NEVER_ISSUED if self._terms.unissued_is_revoked else UNKNOWN

    async def _statuses(self, questions: Sequence[_Question], directory: Directory) -> list[_Statuses]:
        ours = [_ours(question, directory) for question in questions]
        found = await self._view.statuses([one for asked in ours for one in asked if one])
        return [tuple(found[one] if one else None for one in asked) for asked in ours]

    async def _sign(self, wanted: list[Linted]) -> list[bytes]:
        """One hop for each key: as a rule there is one."""
        keys = {one.signatory.key_hash: one.signatory.public_key for one in wanted}
        signed: dict[bytes, Iterator[bytes]] = {}
        for name, key in keys.items():
            messages = [one.tbs for one in wanted if one.signatory.key_hash == name]
            signatures = await asyncio.wrap_future(self._signer.sign(key, messages))
            signed[name] = iter(signatures)
        return [next(signed[one.signatory.key_hash]) for one in wanted]


def _understand(spellings: Sequence[bytes], directory: Directory) -> tuple[list[_Question], _Told]:
    """What can be answered, and what to say if that is nothing."""
    understood: list[_Question] = []
    refusal = (MALFORMED, "malformed")
    for der in spellings:
        try:
            request = parse(der)
        except Malformed:
            continue
        authority = next((known for one in request.certificates if (known := directory.issuers.get(one.issuer))), None)
        if authority is None:
            refusal = (UNAUTHORIZED, "unauthorized")
        else:
            understood.append(_Question(der, request, authority))
    return understood, refusal


def _ours(question: _Question, directory: Directory) -> list[Named | None]:
    """What the database is to be asked of; None for what this CA cannot have issued."""
    authority = question.authority
    return [
        (authority.id, serial)
        if directory.issuers.get(one.issuer) is authority and (serial := _serial(one.serial))
        else None
        for one in question.request.certificates
    ]


def _are_found(statuses: _Statuses) -> bool:
    """Whether each is of a certificate that exists."""
    return all(isinstance(status, (Good, Revoked, Intended)) for status in statuses)


def _are_final(statuses: _Statuses) -> bool:
    """Whether a new version tells of each change. What was never issued may be asked for without end, besides."""
    return all(isinstance(status, (Good, Revoked)) for status in statuses)


def _serial(number: int) -> Serial | None:
    """None for a number that no serial can be (RFC 5280 4.1.2.2)."""
    try:
        return Serial(number)
    except Refused:
        return None
