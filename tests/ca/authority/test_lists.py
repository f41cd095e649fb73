"""Which list a certificate names, fixed when it is issued, and where its revocation is then to be found."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID
from hypothesis import given
from hypothesis import strategies as st

from ca.authority import infrastructure, operators
from ca.authority.issuance import Issued, _in_a_shard
from ca.identifiers import OperatorName, Serial
from ca.pki.certificate import NO_REV_AVAIL
from ca.pki.profile import Kind
from ca.policy.ceiling import Asked, Lifetimes
from ca.store.crls import FULL
from ca.store.filters import Filter
from ca.store.operators import Role
from ca.store.status import Revoked
from tests.ca.authority.stage import Stage, new_key, request, run
from tests.ca.pki.specimens import Hierarchy

SHARDS = 4
LIMIT = timedelta(seconds=90)
CONTENTS = Hierarchy().contents(Kind.AGENT)


@pytest.fixture
def ready(ready: Stage) -> Stage:
    """With several shards, and a limit under which revocation is not spoken of."""
    lifetimes = Lifetimes(timedelta(minutes=15), timedelta(minutes=1), timedelta(minutes=60), LIMIT)
    ready.authority = ready.over(ready.database, crl_shards=SHARDS, lifetimes=lifetimes)
    return ready


def named(der: bytes) -> list[str]:
    """The lists that it names (RFC 5280 4.2.1.13)."""
    found = [each.value for each in x509.load_der_x509_certificate(der).extensions]
    points = [point for each in found if isinstance(each, x509.CRLDistributionPoints) for point in each]
    return [name.value for point in points for name in point.full_name or ()]


def lasting(stage: Stage, seconds: int, task: str | None = None) -> Issued:
    """A certificate that lives for so long."""
    return stage.enrol(stage.token(task=task), asked=Asked(not_after=stage.clock() + timedelta(seconds=seconds)))


def is_brief(issued: Issued) -> bool:
    return NO_REV_AVAIL in [each.value for each in x509.load_der_x509_certificate(issued.der).extensions]


def listing(stage: Stage) -> dict[int, set[int]]:
    """What each list of the issuing CA lists, published anew."""
    made = [one for one in stage.published() if one.issuer == stage.issuer.id and one.shard >= FULL]
    return {one.shard: {entry.serial_number for entry in x509.load_der_x509_crl(one.der)} for one in made}


@given(st.integers(1, 0x7F), st.binary(min_size=18, max_size=18), st.integers(1, 1024))
def test_a_shard_is_one_of_those_that_there_are(replica: int, octets: bytes, shards: int) -> None:
    placed = _in_a_shard(CONTENTS, Serial.assign(replica, octets), shards)
    assert placed.crl is not None
    assert 1 <= placed.crl <= shards
    assert replace(placed, crl=CONTENTS.crl) == CONTENTS


@pytest.mark.parametrize("shards", [1, 2, 7, 16, 100])
def test_shards_are_equally_likely(shards: int) -> None:
    chance, each = random.Random(shards), 400
    drawn = (Serial.assign(1, chance.randbytes(18)) for _ in range(each * shards))
    count = Counter(_in_a_shard(CONTENTS, serial, shards).crl for serial in drawn)
    assert set(count) == set(range(1, shards + 1))
    # Five standard deviations of a binomial distribution.
    assert all(abs(found - each) <= 5 * each**0.5 for found in count.values())


def test_the_row_says_what_the_certificate_names(ready: Stage) -> None:
    made = [ready.enrolled() for _ in range(40)]
    for one in made:
        assert named(one.der) == [f"http://status.example/crl/issuing-1/{one.intent.crl_shard}.crl"]
        assert ready.record(one).intent.crl_shard == one.intent.crl_shard
    assert {one.intent.crl_shard for one in made} == set(range(1, SHARDS + 1))


def test_operators_and_the_api_are_in_shards_and_the_responder_is_in_none(ready: Stage) -> None:
    operator = run(operators.add(ready.authority, OperatorName("ops"), Role.AUDITOR, request(new_key()), "ceremony"))[
        1
    ].der
    key = ready.signer.generate("tls")
    server = run(infrastructure.ensure_server(ready.authority, key, (x509.DNSName("ca.example"),), "ca.example"))
    responder = run(infrastructure.ensure_responder(ready.authority, ready.signer.generate("ocsp-1")))
    shards = {f"http://status.example/crl/issuing-1/{number}.crl" for number in range(1, SHARDS + 1)}
    assert {*named(operator), *named(server)} <= shards
    assert named(operator)
    assert named(server)
    assert named(responder) == []
    [row] = ready.issued(Filter(kind=Kind.RESPONDER))
    assert row.intent.crl_shard == 0


def test_without_shards_the_full_list_is_named(ready: Stage) -> None:
    """As NSS needs it."""
    ready.authority = ready.over(ready.database, crl_shards=0)
    issued = ready.enrolled()
    assert named(issued.der) == ["http://status.example/crl/issuing-1.crl"]
    assert issued.intent.crl_shard == 0
    ready.revoke(issued)
    assert listing(ready) == {0: {issued.intent.serial.number}}


def test_the_cas_name_the_lists_of_their_issuer(ready: Stage) -> None:
    for ca in (ready.root, ready.issuer):
        [row] = ready.issued(Filter(kind=Kind.ROOT if ca is ready.root else Kind.ISSUING))
        assert (row.intent.issuer, row.intent.crl_shard) == (ready.root.id, 0)
    assert named(ready.issued(Filter(kind=Kind.ISSUING))[0].der) == ["http://status.example/crl/root-1.crl"]


def test_a_revocation_is_in_the_list_that_was_named_and_in_the_full_one_alone(ready: Stage) -> None:
    """However many there are by then: a certificate's list is fixed when it is issued."""
    made = [ready.enrolled() for _ in range(12)]
    ready.authority = ready.over(ready.database, crl_shards=SHARDS + 3)
    for one in made:
        ready.revoke(one)
    lists = listing(ready)
    assert lists[0] == {one.intent.serial.number for one in made}
    for one in made:
        held = {number for number, listed in lists.items() if one.intent.serial.number in listed}
        assert held == {0, one.intent.crl_shard}


@pytest.mark.parametrize(("seconds", "brief"), [(61, True), (89, True), (90, True), (91, False), (600, False)])
def test_up_to_the_limit_it_says_that_no_revocation_is_available(ready: Stage, seconds: int, brief: bool) -> None:
    """RFC 9608 3: with noRevAvail no pointer to a list or a responder; without it both."""
    issued = lasting(ready, seconds)
    access = x509.load_der_x509_certificate(issued.der).extensions.get_extension_for_class(
        x509.AuthorityInformationAccess
    )
    methods = {one.access_method for one in access.value}
    assert is_brief(issued) == brief
    assert (named(issued.der) == []) == brief
    assert (AuthorityInformationAccessOID.OCSP not in methods) == brief
    assert AuthorityInformationAccessOID.CA_ISSUERS in methods
    assert (issued.intent.crl_shard == 0) == brief


def test_what_a_deadline_cuts_short_counts_as_it_is(ready: Stage) -> None:
    ready.task("soon", deadline=ready.clock() + LIMIT - timedelta(seconds=1))
    assert is_brief(ready.enrolled(task="soon"))


def test_an_agent_that_asks_for_nothing_gets_what_policy_has_by_default(ready: Stage) -> None:
    assert not is_brief(ready.enrolled())
    lifetimes = replace(ready.authority.lifetimes, default=LIMIT)
    ready.authority = ready.over(ready.database, lifetimes=lifetimes)
    assert is_brief(ready.enrolled())


def test_without_a_limit_every_certificate_has_its_pointers(ready: Stage) -> None:
    ready.authority = ready.over(ready.database)
    assert not is_brief(lasting(ready, 61))


def test_it_can_be_revoked_all_the_same(ready: Stage) -> None:
    """It promises relying parties nothing; who asks is told, and the full list has it."""
    issued = lasting(ready, 61)
    ready.revoke(issued)
    assert isinstance(ready.status(issued.intent), Revoked)
    lists = listing(ready)
    assert {number for number, listed in lists.items() if issued.intent.serial.number in listed} == {0}
