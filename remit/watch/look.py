"""One look after the other: from the certificates to all that they point to, each judged as it came."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from remit.watch import answers, chain, lists
from remit.watch.answers import Question
from remit.watch.chain import Anchor
from remit.watch.fetch import LONGEST_ANSWER, LONGEST_LIST, Fetcher, Unanswered
from remit.watch.finding import Finding, Kind, State, Terms, critical, worst
from remit.watch.lists import Seen

_DEEPEST_CHAIN = 5
_MOST_SHARDS = 1024
_NONCE_OCTETS = 32  # RFC 9654 2.1
_ISSUING = "issuing-1"
_NEVER_ISSUED = 1
"""A serial that is no serial of this authority, whose own have 19 octets: asked where no certificate is at hand."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A certificate whose pointers are followed, and where it was found."""

    url: str
    certificate: x509.Certificate


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found, and the newest number that was ever seen at each list's URL."""

    at: datetime
    findings: tuple[Finding, ...]
    newest: dict[str, int]

    @property
    def state(self) -> State:
        """The worst of all."""
        return worst(one.state for one in self.findings)


@dataclass(frozen=True, slots=True)
class Watch:
    """What is watched, and with what.

    `service` is the URL of a status service whose issuing CA is followed. `known` are certificates
    at hand: like those that are fetched, they are trusted only if they lead to the anchor.
    """

    subjects: Sequence[Subject]
    service: str | None
    anchor: Anchor
    known: Sequence[x509.Certificate]
    fetcher: Fetcher
    terms: Terms
    expected: str
    clock: Callable[[], datetime]
    random: Callable[[int], bytes]
    seen: dict[str, Seen]

    def look(self) -> Look:
        """Looks at everything once. Whatever cannot be had is a finding."""
        at, one = self.clock(), _Round(self)
        for subject in self.subjects:
            one.follow(subject)
        if self.service is not None:
            one.follow_service(self.service.rstrip("/"))
        findings = sorted(one.findings.values(), key=lambda finding: list(Kind).index(finding.kind))
        return Look(at, tuple(findings), {url: seen.number for url, seen in self.seen.items()})


class _Round:
    """One look. Each URL is looked at once, however many certificates name it."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.findings: dict[tuple[Kind, str], Finding] = {}

    def note(self, finding: Finding) -> None:
        """Keeps the worst that was found of one thing."""
        key = (finding.kind, finding.url)
        if key not in self.findings or finding.state > self.findings[key].state:
            self.findings[key] = finding

    def follow(self, subject: Subject) -> None:
        """The subject's chain; then, if it leads to the root, whatever its certificates point to."""
        at = chain.pointers(subject.certificate)
        path = self._path(subject.certificate)
        sentences = [*chain.ended(subject.certificate, self._watch.clock()), *self._unled(path)]
        if not (at.crl or at.ocsp):
            sentences.append("It names no list and no OCSP responder: there is nothing to watch; name another one.")
        self.note(_of_certificate(Kind.CERTIFICATE, subject.url, subject.certificate, sentences))
        self._pointed(path, self._watch.expected)

    def follow_service(self, service: str) -> None:
        """The issuing CA that a status service publishes, its lists and its responder.

        Its certificate is public and names the root's list by the URL that clients know the service
        by; so no secret is needed, and the chain to the trusted root decides what is believed. The
        responder is asked about a serial that was never issued: its answer is signed like any other.
        """
        url = f"{service}/ca/{_ISSUING}.cer"
        issuing = self._certificate(url)
        if issuing is None:
            return
        path = self._path(issuing)
        sentences = [*chain.ended(issuing, self._watch.clock()), *self._unled(path)]
        self.note(_of_certificate(Kind.ISSUER, url, issuing, sentences))
        if not self._pointed(path, "good"):
            return
        stems = [stem for one in chain.pointers(issuing).crl if (stem := chain.stem(one))]
        origin = stems[0].rpartition("/crl/")[0] if stems else service
        self._lists(f"{origin}/crl/{_ISSUING}.crl", issuing)
        self._answers(f"{origin}/ocsp", _NEVER_ISSUED, issuing, "any")

    def _pointed(self, path: list[x509.Certificate], expected: str) -> bool:
        """Whatever the certificates point to; False when they do not lead to the root, so that nothing can be judged.

        `expected` is of the first one; those above it must be good.
        """
        if not self._watch.anchor.is_(path[-1]):
            return False
        for child, issuer in pairwise(path):
            at = chain.pointers(child)
            for url in at.crl:
                self._lists(url, issuer)
            for url in at.ocsp:
                self._answers(url, child.serial_number, issuer, expected if child is path[0] else "good")
        return True

    def _unled(self, path: list[x509.Certificate]) -> Iterator[str]:
        if not self._watch.anchor.is_(path[-1]):
            yield (
                "No chain leads from it to the trusted root, so nothing that it points to can be judged; "
                "see the issuers' certificates, or name its root with --root or --root-fingerprint."
            )

    def _path(self, certificate: x509.Certificate) -> list[x509.Certificate]:
        """From the certificate as far up as issuers are found; trusted only if it ends at the anchor."""
        path = [certificate]
        while len(path) <= _DEEPEST_CHAIN and not self._watch.anchor.is_(path[-1]):
            issuer = self._issuer(path[-1])
            if issuer is None:
                break
            path.append(issuer)
        return path

    def _issuer(self, child: x509.Certificate) -> x509.Certificate | None:
        """As published where the child says, or else one at hand. Where it says is looked at in any case."""
        published = [self._published(url, child) for url in chain.pointers(child).ca_issuers]
        now = self._watch.clock()
        for one in (*published, *self._watch.known):
            if one is not None and not [*chain.faults(child, one, now)]:
                return one
        return None

    def _published(self, url: str, child: x509.Certificate) -> x509.Certificate | None:
        issuer = self._certificate(url)
        if issuer is None:
            return None
        sentences = [*chain.faults(child, issuer, self._watch.clock()), *self._another_root(issuer)]
        self.note(_of_certificate(Kind.ISSUER, url, issuer, sentences))
        return None if sentences else issuer

    def _certificate(self, url: str) -> x509.Certificate | None:
        """The certificate in DER at the URL (RFC 5280 4.2.2.1)."""
        try:
            return chain.read(self._watch.fetcher.get(url, LONGEST_ANSWER))
        except Unanswered as error:
            self.note(critical(Kind.ISSUER, url, str(error)))
        except chain.UNREADABLE:
            self.note(critical(Kind.ISSUER, url, "It is no certificate in DER; see what serves this URL."))
        return None

    def _another_root(self, issuer: x509.Certificate) -> Iterator[str]:
        if issuer.subject == issuer.issuer and not self._watch.anchor.is_(issuer):
            found = issuer.fingerprint(hashes.SHA256()).hex()
            yield f"It is another root than the trusted one (SHA-256 {found}); if it is right, name it with --root."

    def _lists(self, url: str, issuer: x509.Certificate) -> None:
        """The list that is named, and beside it the issuer's full list, its shards and its delta."""
        self._list(url, issuer)
        stem = chain.stem(url)
        if stem is None:
            return
        self._list(f"{stem}.crl", issuer)
        self._list_if_there(f"{stem}/delta.crl", issuer)
        for number in range(1, _MOST_SHARDS + 1):
            if not self._list_if_there(f"{stem}/{number}.crl", issuer):
                break
        for known in [one for one in self._watch.seen if chain.stem(one) == stem]:
            self._list(known, issuer)

    def _list(self, url: str, issuer: x509.Certificate) -> None:
        """A list that must be there."""
        if (error := self._judged(url, issuer)) is not None:
            self.note(critical(Kind.CRL, url, str(error)))

    def _list_if_there(self, url: str, issuer: x509.Certificate) -> bool:
        """Whether there was a list. That there is none is no fault, nor that nobody says so."""
        error = self._judged(url, issuer)
        if error is not None and not error.is_absent and error.status is not None:
            self.note(critical(Kind.CRL, url, str(error)))
        return error is None

    def _judged(self, url: str, issuer: x509.Certificate) -> Unanswered | None:
        """Judges the list at the URL, once in a look; or says why it was not had."""
        if (Kind.CRL, url) in self.findings:
            return None
        now = self._watch.clock()
        try:
            der = self._watch.fetcher.get(url, LONGEST_LIST)
        except Unanswered as error:
            return error
        finding, seen = lists.judge(lists.Case(der, url, issuer, self._watch.seen.get(url), now), self._watch.terms)
        self.note(finding)
        if seen is not None:
            self._watch.seen[url] = seen
        return None

    def _answers(self, url: str, serial: int, issuer: x509.Certificate, expected: str) -> None:
        """By GET as caches and nginx ask, and by POST with a nonce, which no cache can answer."""
        nonce = self._watch.random(_NONCE_OCTETS)
        self._answer(Kind.OCSP_GET, url, Question(serial, issuer, hashes.SHA1()), expected)  # noqa: S303 (RFC 5019 2.1.1)
        self._answer(Kind.OCSP_POST, url, Question(serial, issuer, hashes.SHA256(), nonce), expected)

    def _answer(self, kind: Kind, url: str, question: Question, expected: str) -> None:
        now, fetcher = self._watch.clock(), self._watch.fetcher
        try:
            if kind is Kind.OCSP_GET:
                path = quote(b64encode(question.der).decode(), safe="")
                der = fetcher.get(f"{url.rstrip('/')}/{path}", LONGEST_ANSWER)
            else:
                der = fetcher.post(url, question.der, "application/ocsp-request", LONGEST_ANSWER)
        except Unanswered as error:
            self.note(critical(kind, url, str(error)))
            return
        self.note(answers.judge(answers.Case(der, kind, url, question, expected, now), self._watch.terms))


def _of_certificate(kind: Kind, url: str, certificate: x509.Certificate, sentences: Sequence[str]) -> Finding:
    state = State.CRITICAL if sentences else State.FRESH
    return Finding(kind, url, state, tuple(sentences), not_after=certificate.not_valid_after_utc)
