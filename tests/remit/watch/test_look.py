"""From a certificate to all that it points to: which lists are found, missed, and never looked at."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID

from remit.watch.chain import Anchor
from remit.watch.fetch import Fetcher, Unanswered
from remit.watch.finding import Kind, State, Terms
from remit.watch.look import Look, Subject, Watch
from tests.remit.watch.pki import DELTA, FULL, NOW, ORIGIN, SHARD, House, party

HOUSE = House()
SECOND, THIRD = (f"{ORIGIN}/crl/issuing-1/{number}.crl" for number in (2, 3))
ISSUING, ROOT = f"{ORIGIN}/ca/issuing-1.cer", f"{ORIGIN}/ca/root-1.cer"
ELSEWHERE = "http://elsewhere.example/list"
FILE = "file:///tls.crt"


class Shelf(Fetcher):
    """Gives what lies there. None stands for a server that does not answer."""

    def __init__(self, things: dict[str, bytes | None]) -> None:
        self.things = things
        self.asked: list[str] = []

    def get(self, url: str, limit: int) -> bytes:
        self.asked.append(url)
        if url not in self.things:
            raise Unanswered("There is nothing at this URL (404).", 404)
        thing = self.things[url]
        if thing is None:
            raise Unanswered("It cannot be reached.")
        return thing


def leaf(crl: str | None = SHARD, issuer_at: str | None = None) -> x509.Certificate:
    extensions: list[x509.ExtensionType] = []
    if crl is not None:
        extensions.append(
            x509.CRLDistributionPoints(
                [x509.DistributionPoint([x509.UniformResourceIdentifier(crl)], None, None, None)]
            )
        )
    if issuer_at is not None:
        access = x509.AccessDescription(
            AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(issuer_at)
        )
        extensions.append(x509.AuthorityInformationAccess([access]))
    return party("agent", HOUSE.issuing, extensions=extensions).certificate


def published() -> dict[str, bytes | None]:
    return {
        FULL: HOUSE.crl(),
        DELTA: HOUSE.crl(number=8, delta=7),
        **{url: HOUSE.crl(point=url) for url in (SHARD, SECOND, THIRD)},
    }


def watching(shelf: Shelf, *certificates: x509.Certificate, known: tuple[x509.Certificate, ...] | None = None) -> Watch:
    return Watch(
        subjects=[Subject(FILE, one) for one in certificates],
        service=None,
        anchor=Anchor.of(HOUSE.root.certificate),
        known=(HOUSE.issuing.certificate, HOUSE.root.certificate) if known is None else known,
        fetcher=shelf,
        terms=Terms(),
        expected="good",
        clock=lambda: NOW,
        random=bytes,
        seen={},
    )


def states(look: Look) -> dict[str, State]:
    return {one.url: one.state for one in look.findings}


def test_the_lists_beside_the_one_that_is_named_are_found() -> None:
    look = watching(Shelf(published()), leaf()).look()
    assert states(look) == dict.fromkeys((FILE, SHARD, FULL, DELTA, SECOND, THIRD), State.FRESH)
    assert look.newest == {**dict.fromkeys((SHARD, FULL, SECOND, THIRD), 7), DELTA: 8}


def test_each_list_is_fetched_once_however_many_name_it() -> None:
    shelf = Shelf(published())
    watching(shelf, leaf(), leaf(SECOND), leaf()).look()
    assert all(shelf.asked.count(url) == 1 for url in published())


def test_no_delta_and_no_shards_are_no_fault_but_the_full_list_must_be_there() -> None:
    assert states(watching(Shelf({FULL: HOUSE.crl()}), leaf(FULL)).look()) == dict.fromkeys((FILE, FULL), State.FRESH)
    look = watching(Shelf({SHARD: HOUSE.crl(point=SHARD)}), leaf()).look()
    assert states(look) == {FILE: State.FRESH, SHARD: State.FRESH, FULL: State.CRITICAL}


@pytest.mark.parametrize("gone", [SHARD, SECOND, THIRD, DELTA, FULL])
def test_a_list_that_was_there_and_is_gone_is_missed(gone: str) -> None:
    shelf = Shelf(published())
    watch = watching(shelf, leaf(THIRD))
    assert watch.look().state is State.FRESH
    kept = shelf.things.pop(gone)
    assert [url for url, state in states(watch.look()).items() if state] == [gone]
    shelf.things[gone] = kept
    assert watch.look().state is State.FRESH


def test_a_server_that_does_not_answer_is_not_asked_for_a_thousand_shards() -> None:
    shelf = Shelf(dict.fromkeys((*published(), f"{ORIGIN}/crl/issuing-1/4.crl"), None))
    look = watching(shelf, leaf()).look()
    assert [url for url, state in states(look).items() if state] == [SHARD, FULL], "what is known to be there"
    assert len(shelf.asked) < 8


def test_a_foreign_place_is_followed_without_guesses() -> None:
    shelf = Shelf({ELSEWHERE: HOUSE.crl()})
    assert watching(shelf, leaf(ELSEWHERE)).look().state is State.FRESH
    assert shelf.asked == [ELSEWHERE]


def test_issuers_come_from_where_the_certificate_says() -> None:
    der = HOUSE.issuing.certificate.public_bytes(Encoding.DER)
    watch = watching(Shelf({**published(), ISSUING: der}), leaf(issuer_at=ISSUING), known=(HOUSE.root.certificate,))
    assert states(watch.look())[ISSUING] is State.FRESH


def test_when_they_do_not_the_rest_is_judged_by_those_at_hand() -> None:
    look = watching(Shelf(published()), leaf(issuer_at=ISSUING)).look()
    assert [one.url for one in look.findings if one.state] == [ISSUING]
    assert states(look)[FULL] is State.FRESH


def test_without_a_chain_to_the_root_nothing_is_judged() -> None:
    shelf = Shelf(published())
    look = watching(shelf, leaf(), known=(House().issuing.certificate,)).look()
    [finding] = look.findings
    assert (finding.kind, finding.state) == (Kind.CERTIFICATE, State.CRITICAL)
    assert "No chain leads from it to the trusted root" in finding.sentences[0]
    assert shelf.asked == []


def test_a_short_lived_certificate_that_names_no_status_is_nothing_to_watch() -> None:
    """RFC 9608."""
    [finding] = watching(Shelf({}), leaf(crl=None)).look().findings
    assert "nothing to watch" in finding.sentences[0]


def test_a_certificate_that_has_ended_is_said_to_have() -> None:
    watch = watching(Shelf({}), party("old", HOUSE.issuing, ends=NOW.replace(hour=1)).certificate)
    assert "ended at 2026-07-01T01:00:00Z" in " ".join(one for it in watch.look().findings for one in it.sentences)


def test_a_loop_of_issuers_ends() -> None:
    one, other = party("one", ca=True), party("other", ca=True)
    crossed = [
        party("one", other, ca=True, key=one.key).certificate,
        party("other", one, ca=True, key=other.key).certificate,
    ]
    watch = watching(Shelf({}), party("leaf", one).certificate, known=tuple(crossed))
    assert watch.look().state is State.CRITICAL
