"""CRLs and CA certificates as they were published, never past their end."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64decode
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from ocsp.cache import OVERHEAD
from ocsp.document import Document, Life, http_date
from ocsp.publications import Publications
from ocsp.view import View
from tests.ocsp.house import GOOD, VALIDITY, House, published_crl, run


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
        house.shelf.crls["issuing-1", shard] = published_crl(
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
    document = crl(publications)
    assert document.life == Life(house.now, house.now + timedelta(hours=1))
    house.later(minutes=5)
    headers = dict(document.headers(house.now))
    assert headers[b"cache-control"].startswith(b"max-age=60,")
    assert headers[b"expires"] == http_date(house.now + VALIDITY)


def test_near_its_end_not_even_for_a_minute(house: House, publications: Publications) -> None:
    house.later(minutes=59, seconds=30)
    assert dict(crl(publications).headers(house.now))[b"cache-control"].startswith(b"max-age=30,")


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
    assert crl(publications, shard=1).status == 503
    house.later(minutes=30)
    assert crl(publications).status == 503


def test_the_delta(house: House, publications: Publications) -> None:
    published = published_crl("issuing-1", -1, 9, house.now, house.now + timedelta(minutes=5), b"delta")
    house.shelf.crls["issuing-1", -1] = published
    house.shelf.commit()
    house.look()
    assert crl(publications, shard=-1).body == b"delta"
    assert house.get("/crl/issuing-1/delta.crl").body == b"delta"


@pytest.mark.parametrize("name", ["0", "00", "01", "-1", "12345", "delta/1"])
def test_a_list_has_one_url(house: House, name: str) -> None:
    assert house.get(f"/crl/issuing-1/{name}.crl").status == 404


def test_what_is_in_force_is_not_read_again_for_another_s_revocation(house: House, publications: Publications) -> None:
    first = crl(publications)
    house.revoke(GOOD)
    assert crl(publications) is first


def test_those_who_want_a_new_list_at_once_share_one_read(house: House, publications: Publications) -> None:
    async def crowd() -> set[int]:
        return {id(one) for one in await asyncio.gather(*(publications.crl("issuing-1", 0) for _ in range(50)))}

    assert len(run(crowd())) == 1
    assert house.shelf.fetches == [("issuing-1", 0)]


def test_lists_take_no_more_memory_than_they_may(house: House) -> None:
    room = 2 * OVERHEAD
    publications = Publications(house.view, VALIDITY, house.clock, kept_octets=room)
    for shard in (0, 1, 0, 1):
        crl(publications, shard=shard)
    assert len(house.shelf.fetches) == 4, "one of them fits, the other goes"


def publish_root(house: House, life: timedelta) -> None:
    published = published_crl("root-1", 0, 1, house.now, house.now + life, b"crl of the root")
    house.shelf.crls["root-1", 0] = published
    house.shelf.commit()
    house.look()


def test_the_bundle_has_each_level_the_root_s_last(house: House, publications: Publications) -> None:
    publish_root(house, timedelta(hours=2))
    document = run(publications.bundle())
    assert document.media_type == "application/x-pem-file"
    assert [b64decode(text) for text in _blocks(document.body)] == [b"crl 1 of shard 0", b"crl of the root"]
    assert document.life == Life(house.now, house.now + timedelta(hours=1))
    assert run(publications.bundle()) is document


@pytest.mark.parametrize("size", [1, 47, 48, 49, 48 * 1024 - 1, 48 * 1024, 48 * 1024 + 1, 200_000])
def test_the_bundle_is_pem_as_others_write_it(house: House, publications: Publications, size: int) -> None:
    der = bytes(range(256)) * (size // 256 + 1)
    der = der[:size]
    for name in ("issuing-1", "root-1"):
        house.shelf.crls[name, 0] = published_crl(name, 0, 5, house.now, house.now + timedelta(hours=1), der)
    house.shelf.commit()
    house.look()
    expected = ssl.DER_cert_to_PEM_cert(der).replace("CERTIFICATE", "X509 CRL").encode()
    assert run(publications.bundle()).body == expected * 2


def test_the_bundle_ends_with_the_first_of_its_lists(house: House, publications: Publications) -> None:
    publish_root(house, timedelta(minutes=10))
    life = run(publications.bundle()).life
    assert life is not None
    assert life.until == house.now + timedelta(minutes=10)
    house.later(minutes=10)
    assert run(publications.bundle()).status == 503


def test_a_new_list_is_in_the_bundle(house: House, publications: Publications) -> None:
    publish_root(house, timedelta(hours=2))
    run(publications.bundle())
    publish(house, 2)
    assert b64decode(_blocks(run(publications.bundle()).body)[0]) == b"crl 2 of shard 0"


def test_a_bundle_that_lacks_a_level_is_none(publications: Publications) -> None:
    assert run(publications.bundle()).status == 503


def test_a_part_of_a_list_over_http(house: House) -> None:
    whole = house.get("/crl/issuing-1.crl")
    assert whole.headers["accept-ranges"] == "bytes"
    part = house.get("/crl/issuing-1.crl", range="bytes=4-", if_range=whole.headers["etag"])
    assert (part.status, part.body, part.headers["content-range"]) == (206, b"1 of shard 0", "bytes 4-15/16")
    head = house.get("/crl/issuing-1.crl", "HEAD", range="bytes=4-")
    assert (head.status, head.body, head.headers) == (200, b"", whole.headers)
    assert house.get("/crl/issuing-1.crl", if_none_match="*").status == 304
    publish_root(house, timedelta(hours=2))
    assert house.get("/crl/bundle.pem", range="bytes=0-26").body == b"-----BEGIN X509 CRL-----\nY3"


@pytest.mark.parametrize("slices", [1, 2, 3])
@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_a_long_list_leaves_whole(house: House, slices: int, beyond: int) -> None:
    der = bytes(range(256)) * (slices << 10) + b"!"
    der = der[: (slices << 18) + beyond]
    house.shelf.crls["issuing-1", 0] = published_crl("issuing-1", 0, 2, house.now, house.now + timedelta(hours=1), der)
    house.shelf.commit()
    house.look()
    assert house.get("/crl/issuing-1.crl").body == der
    assert house.get("/crl/issuing-1.crl", range="bytes=5-").body == der[5:]


def _blocks(pem: bytes) -> list[bytes]:
    return [block.partition(b"-----END")[0] for block in pem.split(b"-----BEGIN X509 CRL-----\n")[1:]]


def test_the_certificate_of_a_ca(house: House, publications: Publications) -> None:
    for name, certificate in (("root-1", house.root), ("issuing-1", house.issuing)):
        document = publications.certificate(name)
        assert document.body == certificate.public_bytes(Encoding.DER)
        assert document.media_type == "application/pkix-cert"
    assert publications.certificate("nobody").status == 404


def test_before_the_database_was_read_both_are_away(house: House) -> None:
    unread = Publications(View(house.shelf, house.bell, house.signer.adopt, house.clock), VALIDITY, house.clock)
    assert crl(unread).status == 503
    assert unread.certificate("root-1").status == 503
