"""The judge of lists: each fault has its sentence, and a list that is not the issuer's own is believed in nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from hypothesis import example, given
from hypothesis import strategies as st

from remit.watch.finding import Finding, State, Terms
from remit.watch.lists import Case, Seen, judge
from tests.remit.watch.pki import DELTA, FULL, LIFE, NOW, ORIGIN, SHARD, House, party

HOUSE = House()
OTHER = House()
LIST = HOUSE.crl(serials=[1])
TERMS = Terms()


def look(der: bytes, url: str = FULL, before: Seen | None = None, now: datetime = NOW) -> tuple[Finding, Seen | None]:
    return judge(Case(der, url, HOUSE.issuing.certificate, before, now), TERMS)


@pytest.mark.parametrize(
    ("url", "der"),
    [
        (FULL, HOUSE.crl(serials=[1, 2, 3])),
        (SHARD, HOUSE.crl(point=SHARD)),
        (DELTA, HOUSE.crl(delta=5)),
        (DELTA, HOUSE.crl(delta=5, point=DELTA)),
        ("http://elsewhere.example/list", HOUSE.crl()),
    ],
)
def test_a_list_as_it_should_be_is_fresh(url: str, der: bytes) -> None:
    finding, seen = look(der, url)
    assert (finding.state, finding.sentences, finding.number) == (State.FRESH, (), 7)
    assert seen is not None
    assert look(der, url, seen)[0].state is State.FRESH, "the same list again is no news"


def test_what_it_says_is_told() -> None:
    finding, _ = look(HOUSE.crl(serials=[1, 2, 3]), now=NOW + LIFE / 4)
    assert (finding.entries, finding.number, finding.used) == (3, 7, 0.25)
    assert finding.life is not None
    assert (finding.life.since, finding.life.until) == (NOW, NOW + LIFE)


@pytest.mark.parametrize(
    ("share", "state", "words"),
    [
        (0.0, State.FRESH, ""),
        (0.49, State.FRESH, ""),
        (0.5, State.WARNING, "50% of its life is over"),
        (0.74, State.WARNING, "74% of its life is over"),
        (0.75, State.CRITICAL, "75% of its life is over"),
        (1.0, State.CRITICAL, "It ran out at 2026-07-01T13:00:00Z"),
        (9.0, State.CRITICAL, "It ran out"),
    ],
)
def test_staleness_is_the_share_of_its_life(share: float, state: State, words: str) -> None:
    """Case 18."""
    finding, _ = look(HOUSE.crl(), now=NOW + LIFE * share)
    assert finding.state is state
    assert words in " ".join(finding.sentences)
    assert all("remit crl publish" in one for one in finding.sentences), "the mend"


def test_past_its_end_it_is_critical_whatever_the_terms() -> None:
    case = Case(HOUSE.crl(), FULL, HOUSE.issuing.certificate, None, NOW + LIFE)
    assert judge(case, Terms(warning=1.0, critical=1.0))[0].state is State.CRITICAL
    early = Case(HOUSE.crl(), FULL, HOUSE.issuing.certificate, None, NOW + LIFE / 2)
    assert judge(early, Terms(warning=1.0, critical=1.0))[0].state is State.FRESH


def flipped(der: bytes) -> bytes:
    return der[:-1] + bytes([der[-1] ^ 1])


@pytest.mark.parametrize(
    ("der", "words"),
    [
        (OTHER.crl(), "not by its issuer's key"),
        (HOUSE.crl(issuer=HOUSE.root), "another issuer's list (CN=root), not of CN=issuing"),
        (HOUSE.crl(signer=HOUSE.leaf), "not by its issuer's key"),
        (HOUSE.crl()[:-1], "not a CRL in DER"),
        (HOUSE.crl() + b"\x00", "not a CRL in DER"),
        (flipped(HOUSE.crl()), "not by its issuer's key"),
        (b"", "not a CRL in DER"),
        (b"<html>", "not a CRL in DER"),
        (b"\x30\x80\x00\x00", "not a CRL in DER"),
    ],
)
def test_a_list_that_is_not_the_issuer_s_own_is_believed_in_nothing(der: bytes, words: str) -> None:
    """Case 17, from outside."""
    before = Seen(3)
    finding, seen = look(der, before=before)
    assert finding.state is State.CRITICAL
    assert words in " ".join(finding.sentences)
    assert (finding.life, finding.number, finding.entries) == (None, None, None)
    assert seen is before


@pytest.mark.parametrize(
    ("url", "der", "words"),
    [
        (FULL, HOUSE.crl(point=SHARD), "NSS refuses"),
        (FULL, HOUSE.crl(point=FULL), "NSS refuses"),
        (SHARD, HOUSE.crl(), "names no distribution point"),
        (SHARD, HOUSE.crl(point=f"{ORIGIN}/crl/issuing-1/2.crl"), "not this URL"),
        (FULL, HOUSE.crl(delta=5), "A delta must be where the delta is"),
        (DELTA, HOUSE.crl(), "A delta must be where the delta is"),
        (FULL, HOUSE.crl(key_of=HOUSE.root), "authorityKeyIdentifier"),
        (FULL, HOUSE.crl(number=None), "no CRL number"),
        (FULL, HOUSE.crl(unknown=True), "critical extension"),
        (FULL, HOUSE.crl(begins=NOW + timedelta(minutes=2)), "begins in the future"),
    ],
)
def test_one_that_is_the_issuer_s_but_wrong_here(url: str, der: bytes, words: str) -> None:
    finding, _ = look(der, url)
    assert finding.state is State.CRITICAL
    assert words in " ".join(finding.sentences)


def test_clocks_may_differ_a_little() -> None:
    assert look(HOUSE.crl(begins=NOW + timedelta(seconds=59)))[0].state is State.FRESH


def test_an_issuer_that_may_not_sign_lists() -> None:
    issuer = party("mute", ca=True, crl_sign=False)
    finding, _ = judge(Case(HOUSE.crl(issuer=issuer), FULL, issuer.certificate, None, NOW), TERMS)
    assert "cRLSign" in finding.sentences[0]


def test_the_number_never_goes_back_and_the_newest_is_remembered() -> None:
    _, newest = look(HOUSE.crl(number=8))
    finding, seen = look(HOUSE.crl(number=7), before=newest)
    assert finding.state is State.CRITICAL
    assert "went back from 8 to 7" in finding.sentences[0]
    assert seen == newest
    assert look(HOUSE.crl(number=9), before=newest)[0].state is State.FRESH


def test_one_number_is_one_list() -> None:
    _, seen = look(HOUSE.crl(number=8))
    finding, _ = look(HOUSE.crl(number=8, serials=[1]), before=seen)
    assert "Two different lists have the number 8" in finding.sentences[0]
    assert look(HOUSE.crl(number=8, serials=[1]), before=Seen(8))[0].state is State.FRESH, "only the number was kept"


@example(at=8, octet=0)  # a version that the library raises an exception of its own for
@given(at=st.integers(0, len(LIST) - 1), octet=st.integers(0, 255))
def test_one_octet_changed_and_it_is_believed_in_nothing(at: int, octet: int) -> None:
    changed = LIST[:at] + bytes([octet]) + LIST[at + 1 :]
    finding, seen = look(changed)
    assert changed == LIST or (finding.state, finding.number, seen) == (State.CRITICAL, None, None)


@pytest.mark.parametrize(
    "make",
    [
        ed25519.Ed25519PrivateKey.generate,
        mldsa.MLDSA65PrivateKey.generate,
        lambda: ec.generate_private_key(ec.SECP384R1()),
        lambda: rsa.generate_private_key(65537, 2048),
    ],
)
def test_whatever_key_the_ca_has(make: Callable[[], object]) -> None:
    house = House(make())
    finding, _ = judge(Case(house.crl(), FULL, house.issuing.certificate, None, NOW), TERMS)
    assert finding.state is State.FRESH, finding.sentences
