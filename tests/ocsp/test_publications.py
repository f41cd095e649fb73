"""CRLs and CA certificates as they were published, never past their end."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from ca.store.crls import PublishedCrl
from ocsp.document import Document
from ocsp.publications import Publications
from ocsp.view import View
from tests.ocsp.house import VALIDITY, House, run


@pytest.fixture
def house() -> House:
    made = House()
    publish(made, 1)
    return made


@pytest.fixture
def publications(house: House) -> Publications:
    return Publications(house.view, VALIDITY, house.clock)


def publish(house: House, number: int, life: timedelta = timedelta(hours=1)) -> None:
    for shard in (0, 1):
        der = b"crl %d of shard %d" % (number, shard)
        house.shelf.crls["issuing-1", shard] = PublishedCrl(
            "issuing-1", shard, number, house.now, house.now + life, der
        )
    house.shelf.commit()
    house.look()


def crl(publications: Publications, name: str = "issuing-1", shard: int = 0) -> Document:
    return run(publications.crl(name, shard))


def test_the_full_list_and_a_shard(publications: Publications) -> None:
    assert crl(publications).body == b"crl 1 of shard 0"
    assert crl(publications, shard=1).body == b"crl 1 of shard 1"


@pytest.mark.parametrize(("name", "shard"), [("nobody", 0), ("issuing-1", 7), ("root-1", 0)])
def test_what_is_not_published_is_not_found(publications: Publications, name: str, shard: int) -> None:
    assert crl(publications, name, shard).status == 404


def test_others_may_keep_a_list_for_a_minute_not_for_its_life(house: House, publications: Publications) -> None:
    life = crl(publications).life
    assert life is not None
    assert (life.since, life.until) == (house.now, house.now + VALIDITY)


def test_near_its_end_not_even_for_a_minute(house: House, publications: Publications) -> None:
    house.later(minutes=59, seconds=30)
    life = crl(publications).life
    assert life is not None
    assert life.until == house.now + timedelta(seconds=30)


def test_it_is_read_once_and_again_after_a_commit(house: House, publications: Publications) -> None:
    first = crl(publications)
    assert crl(publications) is first
    publish(house, 2)
    assert crl(publications).body == b"crl 2 of shard 0"


def test_a_list_that_ran_out_is_not_served(house: House, publications: Publications) -> None:
    crl(publications)
    house.later(hours=1)
    assert crl(publications).status == 503


def test_while_the_database_is_away_the_list_is_served_to_its_end(house: House, publications: Publications) -> None:
    first = crl(publications)
    house.shelf.away = True
    house.later(minutes=30)
    assert crl(publications) is first
    assert dict(first.headers(house.now))[b"cache-control"].startswith(b"max-age=0,")
    assert crl(publications, shard=1).status == 503
    house.later(minutes=30)
    assert crl(publications).status == 503


def test_the_certificate_of_a_ca(house: House, publications: Publications) -> None:
    for name, certificate in (("root-1", house.root), ("issuing-1", house.issuing)):
        document = publications.certificate(name)
        assert document.body == certificate.public_bytes(Encoding.DER)
        assert document.media_type == "application/pkix-cert"
    assert publications.certificate("nobody").status == 404


def test_before_the_database_was_read_both_are_away(house: House) -> None:
    unread = Publications(View(house.shelf, house.signer.adopt, house.clock), VALIDITY, house.clock)
    assert crl(unread).status == 503
    assert unread.certificate("root-1").status == 503
