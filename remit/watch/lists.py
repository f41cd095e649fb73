"""CORE. A published CRL: its bytes at a moment to a finding (RFC 5280 5, 6.3.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from cryptography import x509

from remit.watch.chain import UNREADABLE, extension, part
from remit.watch.finding import CLOCK_TOLERANCE, Finding, Kind, Life, State, Terms, critical, staleness, worst

_PUBLISH = "see that the CA runs ('remit doctor'), and publish with 'remit crl publish'."
_NOT_A_LIST = "It is not a CRL in DER; see what serves this URL."


@dataclass(frozen=True, slots=True)
class Seen:
    """The list that an earlier look found at the URL. The digest is None where only its number was kept."""

    number: int
    digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A list, where it was found, whose it must be, and what was there before."""

    der: bytes
    url: str
    issuer: x509.Certificate
    before: Seen | None
    now: datetime

    def seen(self, number: int) -> Seen:
        """What to remember of it."""
        return Seen(number, sha256(self.der).digest())


def judge(case: Case, terms: Terms) -> tuple[Finding, Seen | None]:
    """The finding, and what to remember for the next look: never a list that is not the issuer's own."""
    try:
        return _judge(x509.load_der_x509_crl(case.der), case, terms)
    except UNREADABLE:
        return critical(Kind.CRL, case.url, _NOT_A_LIST), case.before


def _judge(crl: x509.CertificateRevocationList, case: Case, terms: Terms) -> tuple[Finding, Seen | None]:
    forged = tuple(_forgeries(crl, case))
    if forged:
        # Nothing that it says of itself is to be believed.
        return critical(Kind.CRL, case.url, *forged), case.before
    number = _number(crl)
    faults = (*_scope(crl, case), *_order(number, case), *_times(crl, case))
    life = Life(crl.last_update_utc, crl.next_update_utc) if crl.next_update_utc else None
    state, stale = staleness(life, terms, case.now, _PUBLISH) if life else (State.CRITICAL, ())
    finding = Finding(
        Kind.CRL,
        case.url,
        worst([state, State.CRITICAL if faults else State.FRESH]),
        (*faults, *stale),
        life=life,
        used=life.used(case.now) if life else None,
        number=number,
        entries=len(crl),
    )
    newest = number is not None and (case.before is None or number >= case.before.number)
    return finding, case.seen(number) if number is not None and newest else case.before


def _forgeries(crl: x509.CertificateRevocationList, case: Case) -> Iterator[str]:
    """RFC 5280 5.1.2.3, 5.2.1, 6.3.3 (f), (g): whose list it is."""
    if crl.issuer != case.issuer.subject:
        yield (
            f"It is another issuer's list ({crl.issuer.rfc4514_string()}), not of "
            f"{case.issuer.subject.rfc4514_string()}; see what serves this URL."
        )
        return
    usage = extension(case.issuer, x509.KeyUsage)
    if usage is not None and not usage.crl_sign:
        yield "Its issuer's certificate may not sign lists (keyUsage without cRLSign)."
    if not crl.is_signature_valid(case.issuer.public_key()):  # type: ignore[arg-type] # of whatever kind a CA's is
        yield "Its signature is not by its issuer's key: it was changed, or somebody else made it; publish it anew."


def _scope(crl: x509.CertificateRevocationList, case: Case) -> Iterator[str]:
    """RFC 5280 5.2.1, 5.2.4, 5.2.5: what it covers is what this place is for."""
    key, wanted = (
        extension(crl, x509.AuthorityKeyIdentifier),
        extension(case.issuer, x509.SubjectKeyIdentifier),
    )
    if key is None or wanted is None or key.key_identifier != wanted.digest:
        yield "Its authorityKeyIdentifier does not name its issuer's key; publish it anew."
    if any(one.critical and isinstance(one.value, x509.UnrecognizedExtension) for one in crl.extensions):
        yield "It has a critical extension that nobody here knows, so clients refuse it; publish it without."
    place = part(case.url)
    if (extension(crl, x509.DeltaCRLIndicator) is not None) != (place == "delta"):
        yield "A delta must be where the delta is, and only there; see what serves this URL."
    point = extension(crl, x509.IssuingDistributionPoint)
    if point is None and place == "shard":
        yield "It names no distribution point, so it may be another list passed off as this one; publish it anew."
    if point is not None and place == "full":
        yield "The full list names a distribution point, so NSS refuses it; see what serves this URL."
    if point is not None and case.url not in [one.value for one in point.full_name or ()]:
        yield "Its distribution point is not this URL: it is another list passed off as this one; see what serves it."


def _order(number: int | None, case: Case) -> Iterator[str]:
    """RFC 5280 5.2.3: the number rises with each list, and one number is one list."""
    if number is None:
        yield "It has no CRL number; publish it anew."
    elif case.before is not None and number < case.before.number:
        yield (
            f"Its number went back from {case.before.number} to {number}: an old list is served, or the authority's "
            "database was restored; clear the caches before it, or publish anew."
        )
    elif (
        case.before is not None
        and number == case.before.number
        and case.before.digest not in (None, sha256(case.der).digest())
    ):
        yield f"Two different lists have the number {number}: two authorities write for one issuer; stop one of them."


def _times(crl: x509.CertificateRevocationList, case: Case) -> Iterator[str]:
    """RFC 5280 5.1.2.4, 5.1.2.5."""
    if crl.last_update_utc > case.now + CLOCK_TOLERANCE:
        yield f"It begins in the future, at {crl.last_update_utc:%Y-%m-%dT%H:%M:%SZ}; set the clocks right."
    if crl.next_update_utc is None:
        yield "It does not say when the next one comes (nextUpdate), so it would be believed for ever; publish it anew."


def _number(crl: x509.CertificateRevocationList) -> int | None:
    value = extension(crl, x509.CRLNumber)
    return int(value.crl_number) if value is not None else None
