"""CORE. The check before a signature: what was linted is byte for byte what the responder's key signs.

Only `lint_response` makes a `Linted`, and only a `Linted` reaches the signer. It reads the bytes
anew with a parser that did not make them, and runs one cited rule a function. For given contents
one string of octets passes and no other, but for the order of its extensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import sha1, sha256, sha384, sha512

from cryptography import x509
from cryptography.x509 import ReasonFlags

from ca.refusals import Reason, Refused
from ocsp.answer import NEVER_ISSUED, UNKNOWN, CertStatus, Contents, Revocation, Signatory
from ocsp.der import Element, NotDer, Tag, elements, moment, only

# RFC 6960 4.2.1: the alternatives of CertStatus and of ResponderID by their tags.
_GOOD, _REVOKED, _UNKNOWN, _BY_KEY = Tag.PLAIN_0, Tag.WRAPPED_1, Tag.PLAIN_2, Tag.WRAPPED_2
_NONCE = bytes.fromhex("2b0601050507300102")
_EXTENDED_REVOKE = bytes.fromhex("2b0601050507300109")
_SECOND = timedelta(seconds=1)

# RFC 5280 5.3.1. `unspecified` is left out of an answer, and `removeFromCRL` is of delta CRLs alone.
_REASONS = {
    ReasonFlags.unspecified: None,
    ReasonFlags.key_compromise: 1,
    ReasonFlags.ca_compromise: 2,
    ReasonFlags.affiliation_changed: 3,
    ReasonFlags.superseded: 4,
    ReasonFlags.cessation_of_operation: 5,
    ReasonFlags.certificate_hold: 6,
    ReasonFlags.remove_from_crl: 8,
    ReasonFlags.privilege_withdrawn: 9,
    ReasonFlags.aa_compromise: 10,
}
_REASONS_OF_AN_END = frozenset({None, 1, 2, 3, 4, 5, 6, 9, 10})

_Said = tuple[int, datetime | None, int | None]
"""A CertStatus as read: its tag, and of a revocation the moment and the reason's number."""


@dataclass(frozen=True, slots=True)
class Linted:
    """Bytes that passed every rule, and who signs them: the only thing that may be signed."""

    signatory: Signatory
    tbs: bytes


@dataclass(slots=True)
class _Single:
    """A SingleResponse as read."""

    certificate: bytes
    said: _Said
    this_update: datetime
    next_update: datetime | None
    extensions: list[Element]


@dataclass(slots=True)
class _Extension:
    oid: bytes
    critical: bool
    value: bytes


@dataclass(frozen=True, slots=True)
class _OfSignatory:
    """What the rules compare with, of a responder's certificate; read once for each."""

    key_hash: bytes
    ca_names: frozenset[bytes]
    since: datetime
    until: datetime


@dataclass(slots=True)
class _Case:
    """What a rule looks at: the bytes, read anew, and what they should say."""

    version: list[Element]
    responder: Element
    produced_at: datetime
    singles: list[_Single]
    extensions: list[_Extension]
    own: _OfSignatory
    contents: Contents
    now: datetime
    longest: timedelta

    def values(self, oid: bytes) -> list[bytes]:
        return [extension.value for extension in self.extensions if extension.oid == oid]


@lru_cache(maxsize=16)
def _of(signatory: Signatory) -> _OfSignatory:
    certificate = signatory.certificate
    name = certificate.issuer.public_bytes()
    sha_1 = sha1(name, usedforsecurity=False).digest()
    return _OfSignatory(
        key_hash=x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest,
        ca_names=frozenset({sha_1, sha256(name).digest(), sha384(name).digest(), sha512(name).digest()}),
        since=certificate.not_valid_before_utc,
        until=certificate.not_valid_after_utc,
    )


_Rule = Callable[[_Case], bool]


def _version_is_the_default(case: _Case) -> bool:
    """RFC 6960 4.2.1: version 1, which DER leaves out (X.690 11.5)."""
    return not case.version


def _responder_is_named_by_its_key(case: _Case) -> bool:
    """RFC 6960 4.2.1, 4.2.2.3: byKey, the SHA-1 of the key's bits in the responder's certificate."""
    tag, name, _ = case.responder
    return tag == _BY_KEY and only(name, Tag.OCTET_STRING) == case.own.key_hash


def _produced_this_second(case: _Case) -> bool:
    """RFC 6960 2.4: producedAt is when the responder signed."""
    return case.produced_at == case.contents.produced_at and timedelta(0) <= case.now - case.produced_at < _SECOND


def _answers_what_was_asked(case: _Case) -> bool:
    """RFC 6960 4.2.1, RFC 5019 2.2.1: a response for each CertID of the request, octet for octet, and for no other."""
    asked = case.contents.request.certificates
    return [one.certificate for one in case.singles] == [one.der for one in asked] != []


def _statuses_are_those_decided(case: _Case) -> bool:
    """RFC 6960 2.2: good, revoked with its moment and reason, or unknown, as decided for each certificate."""
    return [one.said for one in case.singles] == [_said(status) for status in case.contents.statuses]


def _speaks_for_its_own_ca(case: _Case) -> bool:
    """RFC 6960 4.2.2.2: a delegate vouches for certificates of the CA that issued its own; all others are unknown."""
    names = case.own.ca_names
    pairs = zip(case.contents.request.certificates, case.contents.statuses, strict=False)
    return all(status is UNKNOWN or one.issuer[1] in names for one, status in pairs)


def _reasons_are_of_an_end(case: _Case) -> bool:
    """RFC 5280 5.3.1: never removeFromCRL, nor a number that names no reason."""
    return all(one.said[2] in _REASONS_OF_AN_END for one in case.singles)


def _lives_as_decided(case: _Case) -> bool:
    """RFC 6960 4.2.2.1: thisUpdate and nextUpdate of each certificate are there, and as decided."""
    life = (case.contents.produced_at, case.contents.next_update)
    return all((one.this_update, one.next_update) == life for one in case.singles)


def _ends_after_it_begins(case: _Case) -> bool:
    """RFC 5019 2.2.4: thisUpdate, producedAt and nextUpdate in their order."""
    return case.contents.produced_at < case.contents.next_update


def _lives_no_longer_than_the_terms(case: _Case) -> bool:
    """RFC 5019 2.2.4: whoever keeps the answer misses a revocation for no longer than was promised."""
    return case.contents.next_update - case.contents.produced_at <= case.longest


def _lives_within_the_responders_certificate(case: _Case) -> bool:
    """RFC 6960 4.2.2.2: an answer that outlives its signer's certificate cannot be verified."""
    return case.own.since <= case.contents.produced_at and case.contents.next_update <= case.own.until


def _nonce_is_the_one_asked_with(case: _Case) -> bool:
    """RFC 9654 2.1: the request's nonce, octet for octet, and none where none was sent."""
    asked = case.contents.request.nonce
    found = case.values(_NONCE)
    if asked is None:
        return not found
    return [only(value, Tag.OCTET_STRING) for value in found] == [asked] and 1 <= len(asked) <= 128


def _never_issued_is_declared(case: _Case) -> bool:
    """RFC 6960 2.2, 4.4.8: whoever says revoked of what was never issued declares it, with a NULL."""
    found, declared = case.values(_EXTENDED_REVOKE), case.contents.extended_revoke
    said = NEVER_ISSUED in case.contents.statuses
    return found == ([bytes((Tag.NULL, 0))] if declared else []) and (declared or not said)


def _nothing_else(case: _Case) -> bool:
    """RFC 5019 2.2.1: no extension that nobody asked for, in whatever place, and none that is critical."""
    known = all(one.oid in (_NONCE, _EXTENDED_REVOKE) and not one.critical for one in case.extensions)
    return known and not any(one.extensions for one in case.singles)


RULES: tuple[_Rule, ...] = (
    _version_is_the_default,
    _responder_is_named_by_its_key,
    _produced_this_second,
    _answers_what_was_asked,
    _statuses_are_those_decided,
    _speaks_for_its_own_ca,
    _reasons_are_of_an_end,
    _lives_as_decided,
    _ends_after_it_begins,
    _lives_no_longer_than_the_terms,
    _lives_within_the_responders_certificate,
    _nonce_is_the_one_asked_with,
    _never_issued_is_declared,
    _nothing_else,
)


def lint_response(tbs: bytes, signatory: Signatory, contents: Contents, *, now: datetime, longest: timedelta) -> Linted:
    """Checks a ResponseData against what it should say. `longest` is the longest life an answer may have.

    Raises `Refused(LINT_FAILED)` naming the rule: this is a fault of ours, never of who asks.
    """
    try:
        case = _read(tbs, signatory, contents, now, longest)
        broken = next((rule for rule in RULES if not rule(case)), None)
    except NotDer as error:
        raise _failed(str(error)) from error
    if broken is not None:
        raise _failed(broken.__name__)
    return Linted(signatory, tbs)


def _read(tbs: bytes, signatory: Signatory, contents: Contents, now: datetime, longest: timedelta) -> _Case:
    """Any ResponseData that RFC 6960 4.2.1 allows. Raises `NotDer`."""
    fields = elements(only(tbs, Tag.SEQUENCE))
    version = [fields.pop(0)] if fields and fields[0][0] == Tag.WRAPPED_0 else []
    match fields:
        case [responder, (Tag.TIME, produced_at, _), (Tag.SEQUENCE, singles, _), *rest]:
            return _Case(
                version=version,
                responder=responder,
                produced_at=moment(produced_at),
                singles=[_single(one) for one in elements(singles)],
                extensions=[_extension(one) for one in _extensions(rest)],
                own=_of(signatory),
                contents=contents,
                now=now,
                longest=longest,
            )
    raise NotDer("not a ResponseData")


def _single(element: Element) -> _Single:
    match elements(_contents(element)):
        case [certificate, status, (Tag.TIME, this_update, _), *rest]:
            end = only(rest.pop(0)[1], Tag.TIME) if rest and rest[0][0] == Tag.WRAPPED_0 else None
            return _Single(
                certificate=certificate[2],
                said=_status(status),
                this_update=moment(this_update),
                next_update=None if end is None else moment(end),
                extensions=_extensions(rest),
            )
    raise NotDer("not a SingleResponse")


def _status(element: Element) -> _Said:
    tag, contents, _ = element
    if tag != _REVOKED:
        if tag not in (_GOOD, _UNKNOWN) or contents:
            raise NotDer("not a CertStatus")
        return tag, None, None
    match elements(contents):
        case [(Tag.TIME, at, _)]:
            return _REVOKED, moment(at), None
        case [(Tag.TIME, at, _), (Tag.WRAPPED_0, reason, _)]:
            return _REVOKED, moment(at), _reason(only(reason, Tag.ENUMERATED))
    raise NotDer("not a RevokedInfo")


def _reason(number: bytes) -> int:
    if len(number) != 1:
        raise NotDer("not a CRLReason")
    return number[0]


def _extensions(rest: list[Element]) -> list[Element]:
    """The extensions at the end of a structure; a list of none is not DER's way to leave them out."""
    match rest:
        case []:
            return []
        case [(Tag.WRAPPED_1, wrapped, _)]:
            found = elements(only(wrapped, Tag.SEQUENCE))
            if found:
                return found
    raise NotDer("something after the last field")


def _extension(element: Element) -> _Extension:
    match elements(_contents(element)):
        case [(Tag.OID, oid, _), (Tag.OCTET_STRING, value, _)]:
            return _Extension(oid, critical=False, value=value)
        case [(Tag.OID, oid, _), (Tag.BOOLEAN, b"\xff", _), (Tag.OCTET_STRING, value, _)]:
            return _Extension(oid, critical=True, value=value)
    raise NotDer("not an Extension")


def _contents(element: Element) -> bytes:
    tag, contents, _ = element
    if tag != Tag.SEQUENCE:
        raise NotDer("not a SEQUENCE")
    return contents


def _said(status: CertStatus) -> _Said:
    """How what was decided should read."""
    if isinstance(status, Revocation):
        return _REVOKED, status.at, _REASONS[status.reason]
    return (_UNKNOWN if status is UNKNOWN else _GOOD), None, None


def _failed(rule: str) -> Refused:
    return Refused(Reason.LINT_FAILED, f"Nothing was signed: the check before the signature failed ({rule}).")
