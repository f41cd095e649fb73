"""The check of a CRL before its signature, as `ca.pki.lint` has it for certificates.

A list may have a million entries, so these are not parsed one by one: one expression, run by the
library, says what an entry of this authority looks like, octet for octet. That each serial is there
once, and with the date it was revoked at, follows from the table whose rows they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat import asn1

from ca.pki import crl
from ca.pki.certificate import Issuer
from ca.pki.crl import Scope
from ca.pki.lint import Linted, failed
from ca.pki.signed import ToBeSigned, algorithm_identifier, assemble

_PLACEHOLDER = b"\x00"
_SERIAL = rb"\x02\x13[\x01-\x7f][\x00-\xff]{18}"
_TIME = rb"(?:\x17\x0d\d{12}Z|\x18\x0f\d{14}Z)"
# reasonCode (RFC 5280 5.3.1), never critical; not unspecified (0) nor 7, which does not exist.
_REASON = rb"\x30\x0c\x30\x0a\x06\x03\x55\x1d\x15\x04\x03\x0a\x01"


def _expression(reasons: bytes) -> re.Pattern[bytes]:
    entry = rb"\x30[\x24\x26\x32\x34]" + _SERIAL + _TIME + rb"(?:" + _REASON + reasons + rb")?"
    return re.compile(rb"(?:" + entry + rb")++", re.DOTALL)


_ENTRIES = _expression(rb"[\x01-\x06\x09\x0a]")
_DELTA_ENTRIES = _expression(rb"[\x01-\x06\x08-\x0a]")
"""removeFromCRL (8) stands in deltas alone."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a list should say: its issuer and number, its times, and what it covers."""

    issuer: Issuer
    number: int
    now: datetime
    next_update: datetime
    scope: Scope


class _Case:
    """What a rule looks at: the bytes, read anew, and what they should say."""

    def __init__(self, to_be_signed: ToBeSigned, wanted: Wanted) -> None:
        self.raw = crl.parts(to_be_signed.tbs)
        # A million entries are one rule's; everything else is read from the list without them.
        bare = ToBeSigned(self.raw.bare, to_be_signed.algorithm)
        self.crl = x509.load_der_x509_crl(assemble(bare, _PLACEHOLDER))
        self.algorithm = to_be_signed.algorithm
        self.wanted = wanted
        self.found: dict[type[Any], x509.Extension[Any]] = {type(one.value): one for one in self.crl.extensions}

    def holds(self, value: x509.ExtensionType, *, critical: bool) -> bool:
        """Whether the list has exactly this extension."""
        one = self.found.get(type(value))
        return one is not None and one.value == value and one.critical == critical


def _version(case: _Case) -> bool:
    """RFC 5280 5.1.2.1: extensions need version 2, which is written as 1."""
    return case.raw.version == 1


def _algorithm(case: _Case) -> bool:
    """RFC 5280 5.1.1.2: the algorithm inside is the one beside the signature, and that of the issuer's key."""
    expected = algorithm_identifier(case.wanted.issuer.public_key)
    return asn1.encode_der(case.raw.algorithm) == case.algorithm == expected


def _issuer(case: _Case) -> bool:
    """RFC 5280 5.1.2.3: the name of the issuer's certificate."""
    return asn1.encode_der(case.raw.issuer) == case.wanted.issuer.certificate.subject.public_bytes()


def _times(case: _Case) -> bool:
    """RFC 5280 5.1.2.4 and 5.1.2.5: made now, and there is always a next one."""
    return case.crl.last_update_utc == case.wanted.now < case.wanted.next_update == case.crl.next_update_utc


def _number(case: _Case) -> bool:
    """RFC 5280 5.2.3."""
    return case.holds(x509.CRLNumber(case.wanted.number), critical=False)


def _authority_key_identifier(case: _Case) -> bool:
    """RFC 5280 5.2.1: the key identifier of the issuer's certificate."""
    identifier = case.wanted.issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    expected = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    return case.holds(expected, critical=False)


def _scope(case: _Case) -> bool:
    """RFC 5280 5.2.4 to 5.2.6: what a shard, a delta and a full list with a delta each say of themselves."""
    return all(case.holds(value, critical=critical) for value, critical in case.wanted.scope.extensions())


def _base(case: _Case) -> bool:
    """RFC 5280 5.2.4: a delta stands on a list that was published before it."""
    base = case.wanted.scope.base
    return base is None or 0 < base < case.wanted.number


def _nothing_else(case: _Case) -> bool:
    """Only extensions that another rule looks at."""
    scope = {type(value) for value, _ in case.wanted.scope.extensions()}
    return set(case.found) == scope | {x509.CRLNumber, x509.AuthorityKeyIdentifier}


def _entries(case: _Case) -> bool:
    """RFC 5280 5.3: each is a serial of this authority, a time, and at most a reason; an empty list has none."""
    expression = _ENTRIES if case.wanted.scope.base is None else _DELTA_ENTRIES
    return case.raw.entries is None or expression.fullmatch(case.raw.entries) is not None


CRL_RULES: tuple[Callable[[_Case], bool], ...] = (
    _version,
    _algorithm,
    _issuer,
    _times,
    _number,
    _authority_key_identifier,
    _scope,
    _base,
    _nothing_else,
    _entries,
)


def lint_crl(to_be_signed: ToBeSigned, wanted: Wanted) -> Linted:
    """Checks a TBSCertList (RFC 5280 5) against what it should say. Raises `Refused(LINT_FAILED)` naming the rule."""
    try:
        case = _Case(to_be_signed, wanted)
        broken = next((rule for rule in CRL_RULES if not rule(case)), None)
    except (ValueError, x509.DuplicateExtension) as error:
        raise failed("the bytes do not parse") from error
    if broken is not None:
        raise failed(f"crl {broken.__name__}")
    return Linted(to_be_signed)
