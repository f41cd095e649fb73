"""From a question to an answer: never good by default, signed once, true after every change, alive in faults.

Cases 14, 21 and 22; what is signed and what is not is `test_signing`.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from ca.hsm import KeyKind
from ca.identifiers import Serial
from ca.pki.keys import verify
from ca.store.status import Good
from ocsp.document import Document
from ocsp.request import parse
from tests.ocsp.house import GOOD, NEVER_ISSUED, NONCE, REVOKED, REVOKED_AT, UNFINISHED, House, question, run
from tests.ocsp.test_request import request, tlv

SUCCESSFUL = ocsp.OCSPResponseStatus.SUCCESSFUL
TRY_LATER = ocsp.OCSPResponseStatus.TRY_LATER
UNAUTHORIZED = ocsp.OCSPResponseStatus.UNAUTHORIZED
MALFORMED = ocsp.OCSPResponseStatus.MALFORMED_REQUEST
HOUSE = House(unkept=10_000)
ALGORITHMS = [hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()]


@pytest.fixture
def house() -> House:
    return House()


def ask(house: House, *spellings: bytes) -> ocsp.OCSPResponse:
    return ocsp.load_der_ocsp_response(run(house.responder.answer(spellings)).body)


def status(house: House, der: bytes) -> str:
    return ask(house, der).certificate_status.name


# What is said.


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda each: each.name)
def test_good_revoked_unknown_by_any_hash(house: House, algorithm: hashes.HashAlgorithm) -> None:
    assert status(house, question(house.issuing, GOOD, algorithm)) == "GOOD"
    assert status(house, question(house.issuing, NEVER_ISSUED, algorithm)) == "UNKNOWN"
    read = ask(house, question(house.issuing, REVOKED, algorithm))
    assert (read.certificate_status.name, read.revocation_time_utc) == ("REVOKED", REVOKED_AT)
    assert read.revocation_reason is x509.ReasonFlags.key_compromise
    assert read.hash_algorithm.name == algorithm.name


@given(st.one_of(st.integers(min_value=1, max_value=0x3000), st.integers(min_value=-(2**170), max_value=2**170)))
def test_good_for_nothing_but_what_was_issued(serial: int) -> None:
    der = request(tlv(0x30, _certid(HOUSE, serial)))
    read = ask(HOUSE, der)
    expected = {GOOD.number: "GOOD", REVOKED.number: "REVOKED", UNFINISHED.number: "REVOKED"}.get(serial, "UNKNOWN")
    assert read.certificate_status.name == expected


def test_the_answer_is_signed_by_the_delegate_over_this_very_second(house: House) -> None:
    house.later(milliseconds=700)
    read = ask(house, question(house.issuing, GOOD))
    verify(house.responder_key, read.signature, read.tbs_response_bytes)
    assert read.certificates == house.shelf.responders_of["issuing-1"]
    assert read.this_update_utc == read.produced_at_utc == house.now.replace(microsecond=0)
    assert read.next_update_utc == read.this_update_utc + timedelta(seconds=60)


def test_never_past_the_end_of_the_responder_s_certificate(house: House) -> None:
    house.shelf.responders_of["issuing-1"] = [house.certify(house.responder_key, timedelta(seconds=20))]
    house.shelf.commit()
    house.look()
    der = question(house.issuing, GOOD)
    assert ask(house, der).next_update_utc == house.now + timedelta(seconds=20)
    house.later(seconds=20)
    assert ask(house, der).response_status is TRY_LATER


@pytest.mark.parametrize("kind", [None, KeyKind.P256, KeyKind.P384, KeyKind.RSA_2048])
def test_a_responder_is_rolled_over_without_a_gap(house: House, kind: KeyKind | None) -> None:
    """With the same key and with another: what the one before signed stays true, what comes is the new one's."""
    kept, fresh = question(house.issuing, GOOD), question(house.issuing, REVOKED)
    [old], key = house.shelf.responders_of["issuing-1"], house.responder_key
    first = run(house.responder.answer([kept]))
    if kind is not None:
        key = house.signer.generate("ocsp-2", kind)
    new = house.certify(key, timedelta(days=30))
    house.shelf.responders_of["issuing-1"] = [new, old]
    house.shelf.commit()
    house.look()
    assert run(house.responder.answer([kept])) is first
    read = ask(house, fresh)
    assert read.certificates == [new]
    verify(key, read.signature, read.tbs_response_bytes)
    house.later(seconds=30)
    assert ask(house, kept).certificates == [new]


def test_what_is_signed_for_and_not_finished_is_on_hold_and_kept_by_nobody(house: House) -> None:
    """Case 1; and no version tells when it is finished."""
    der = question(house.issuing, UNFINISHED)
    document = run(house.responder.answer([der]))
    read = ocsp.load_der_ocsp_response(document.body)
    assert (read.certificate_status.name, read.revocation_time_utc) == ("REVOKED", REVOKED_AT)
    assert read.revocation_reason is x509.ReasonFlags.certificate_hold
    assert document.life is None
    house.shelf.rows["issuing-1", UNFINISHED] = Good()
    assert status(house, der) == "GOOD"


def test_several_certificates_each_their_own(house: House) -> None:
    ids = [tlv(0x30, _certid(house, one.number)) for one in (NEVER_ISSUED, GOOD, REVOKED)]
    read = ask(house, request(*ids))
    assert [one.certificate_status.name for one in read.responses] == ["UNKNOWN", "GOOD", "REVOKED"]


def test_beside_another_ca_s_certificate_the_foreign_one_is_unknown(house: House) -> None:
    """The root issued this serial; the issuing CA's responder must not vouch for it."""
    foreign = question(house.root, NEVER_ISSUED)
    ids = [tlv(0x30, _certid(house, GOOD.number)), tlv(0x30, _from(foreign))]
    assert [one.certificate_status.name for one in ask(house, request(*ids)).responses] == ["GOOD", "UNKNOWN"]


def test_a_serial_of_another_issuer_is_not_this_one_s(house: House) -> None:
    assert house.shelf.rows["root-1", NEVER_ISSUED] == Good()
    assert status(house, question(house.issuing, NEVER_ISSUED)) == "UNKNOWN"


def test_a_ca_that_delegated_to_nobody_and_one_that_nobody_knows_are_unauthorized(house: House) -> None:
    assert ask(house, question(house.root, NEVER_ISSUED)).response_status is UNAUTHORIZED
    stranger = ocsp.OCSPRequestBuilder().add_certificate_by_hash(b"n" * 20, b"k" * 20, 5, hashes.SHA1()).build()
    assert ask(house, stranger.public_bytes(Encoding.DER)).response_status is UNAUTHORIZED
    assert house.signer.signed == []


def test_an_issuing_ca_whose_responder_is_awaited_says_try_later(house: House) -> None:
    house.shelf.responders_of.clear()
    house.shelf.commit()
    house.look()
    assert ask(house, question(house.issuing, GOOD)).response_status is TRY_LATER


def test_what_cannot_be_read_is_malformed(house: House) -> None:
    assert ask(house, b"\x30\x00").response_status is MALFORMED
    assert ask(house).response_status is MALFORMED


def test_never_issued_is_revoked_where_that_is_wanted() -> None:
    house = House(unissued_is_revoked=True)
    read = ask(house, question(house.issuing, NEVER_ISSUED))
    assert read.certificate_status.name == "REVOKED"
    # RFC 6960 2.2: these two, and the extension.
    assert read.revocation_time_utc == datetime(1970, 1, 1, tzinfo=UTC)
    assert read.revocation_reason is x509.ReasonFlags.certificate_hold
    assert [extension.oid.dotted_string for extension in read.extensions] == ["1.3.6.1.5.5.7.48.1.9"]
    assert status(house, question(house.issuing, GOOD)) == "GOOD"
    ids = [tlv(0x30, _certid(house, GOOD.number)), tlv(0x30, _from(question(house.root, 5)))]
    assert [one.certificate_status.name for one in ask(house, request(*ids)).responses] == ["GOOD", "UNKNOWN"]


# Nonces.


def test_a_nonce_is_repeated_and_such_an_answer_is_kept_by_nobody(house: House) -> None:
    der = question(house.issuing, GOOD, nonce=NONCE)
    for _ in range(2):
        document = run(house.responder.answer([der]))
        assert document.life is None
        read = ocsp.load_der_ocsp_response(document.body)
        assert read.extensions.get_extension_for_class(x509.OCSPNonce).value == NONCE
    assert len(house.cache) == 0
    assert len(house.signer.signed) == 2


def test_what_no_cache_can_hold_is_metered_and_the_rest_is_not() -> None:
    house = House(unkept=2)
    unkept = [
        question(house.issuing, GOOD, nonce=NONCE),
        question(house.issuing, NEVER_ISSUED),
        question(house.issuing, GOOD, nonce=x509.OCSPNonce(b"other")),
        question(house.issuing, Serial(0x1FFE)),
    ]
    assert [ask(house, der).response_status for der in unkept] == [SUCCESSFUL, SUCCESSFUL, TRY_LATER, TRY_LATER]
    assert status(house, question(house.issuing, GOOD)) == "GOOD"
    assert house.outcomes() == {"signed": 3, "metered": 2}


# The cache.


def test_the_second_question_is_proved_not_signed(house: House) -> None:
    der = question(house.issuing, GOOD)
    first = run(house.responder.answer([der]))
    house.later(seconds=10)
    assert run(house.responder.answer([der])) is first
    assert len(house.signer.signed) == 1
    assert house.outcomes() == {"signed": 1, "proved": 1}


def test_a_commit_that_does_not_touch_the_certificate_costs_no_signature(house: House) -> None:
    der = question(house.issuing, GOOD)
    first = run(house.responder.answer([der]))
    house.change(Serial(0x2000), Good())
    assert _current(house, der) is None
    assert run(house.responder.answer([der])) is first
    assert _current(house, der) is first
    assert len(house.signer.signed) == 1


def test_a_revocation_is_seen_at_the_next_look(house: House) -> None:
    der = question(house.issuing, GOOD)
    assert status(house, der) == "GOOD"
    house.revoke(GOOD)
    assert _current(house, der) is None
    assert status(house, der) == "REVOKED"


def test_a_revocation_while_the_answer_is_being_signed_does_not_linger(house: House) -> None:
    der = question(house.issuing, GOOD)

    async def race() -> None:
        asking = asyncio.create_task(house.responder.answer([der]))
        for _ in range(3):
            await asyncio.sleep(0)
        await house.view.statuses([])
        assert house.shelf.lookups
        house.shelf.rows["issuing-1", GOOD] = house.shelf.rows["issuing-1", REVOKED]
        house.shelf.commit()
        await house.view.refresh()
        await asking

    run(race())
    assert _current(house, der) is None
    assert status(house, der) == "REVOKED"


def test_from_half_its_life_on_an_answer_is_made_anew(house: House) -> None:
    der = question(house.issuing, GOOD)
    first = ask(house, der)
    house.later(seconds=30)
    second = ask(house, der)
    assert second.this_update_utc == first.this_update_utc + timedelta(seconds=30)


def test_those_who_ask_at_once_share_a_signature(house: House) -> None:
    der = question(house.issuing, GOOD)

    async def crowd() -> set[int]:
        return {id(one) for one in await asyncio.gather(*(house.responder.answer([der]) for _ in range(50)))}

    assert len(run(crowd())) == 1
    assert len(house.signer.signed) == 1


def test_one_who_goes_away_does_not_take_the_answer_from_the_others(house: House) -> None:
    der = question(house.issuing, GOOD)

    async def crowd() -> Document:
        leaves, stays = (asyncio.create_task(house.responder.answer([der])) for _ in range(2))
        await asyncio.sleep(0)
        leaves.cancel()
        return await stays

    assert ocsp.load_der_ocsp_response(run(crowd()).body).certificate_status.name == "GOOD"


# Faults.


def test_while_the_signer_is_down_the_fresh_try_later_and_the_kept_is_given(house: House) -> None:
    kept, fresh = question(house.issuing, GOOD), question(house.issuing, REVOKED)
    first = run(house.responder.answer([kept]))
    house.signer.down = "The token was pulled."
    house.later(seconds=45)
    assert run(house.responder.answer([kept])) is first
    assert ask(house, fresh).response_status is TRY_LATER
    house.later(seconds=15)
    assert ask(house, kept).response_status is TRY_LATER
    house.signer.down = None
    assert status(house, kept) == "GOOD"


def test_while_the_signer_is_down_a_revoked_certificate_is_not_called_good(house: House) -> None:
    der = question(house.issuing, GOOD)
    assert status(house, der) == "GOOD"
    house.signer.down = "The token was pulled."
    house.revoke(GOOD)
    assert ask(house, der).response_status is TRY_LATER


def test_while_the_database_is_away_only_what_no_change_was_seen_after_is_given(house: House) -> None:
    der = question(house.issuing, GOOD)
    first = run(house.responder.answer([der]))
    house.shelf.away = True
    house.later(seconds=45)
    assert run(house.responder.answer([der])) is first
    assert ask(house, question(house.issuing, REVOKED)).response_status is TRY_LATER
    house.shelf.away = False
    house.shelf.commit()
    house.look()
    house.shelf.away = True
    assert ask(house, der).response_status is TRY_LATER


def test_before_the_database_was_read_try_later(house: House) -> None:
    house.view.directory = None
    assert ask(house, question(house.issuing, GOOD)).response_status is TRY_LATER


def test_a_clock_set_back_makes_a_new_answer(house: House) -> None:
    der = question(house.issuing, GOOD)
    ask(house, der)
    house.later(hours=-1)
    assert ask(house, der).this_update_utc == house.now


# Spellings.


def test_of_several_spellings_the_one_whose_certificate_exists_is_answered(house: House) -> None:
    wrong, right = question(house.issuing, NEVER_ISSUED), question(house.issuing, GOOD)
    read = ask(house, b"\x30\x00", question(House().root, GOOD, hashes.SHA256()), wrong, right)
    assert (read.serial_number, read.certificate_status.name) == (GOOD.number, "GOOD")


def test_of_several_spellings_that_name_nothing_the_first_is_answered(house: House) -> None:
    read = ask(house, question(house.issuing, NEVER_ISSUED), question(house.issuing, Serial(0x1FFE)))
    assert (read.serial_number, read.certificate_status.name) == (NEVER_ISSUED.number, "UNKNOWN")


def _current(house: House, der: bytes) -> Document | None:
    return house.cache.current(der, house.view.generation, house.now)


def _from(der: bytes) -> bytes:
    """The one CertID of a request."""
    return parse(der).certificates[0].der


def _certid(house: House, serial: int) -> bytes:
    """A CertID of the issuing CA with any number at all."""
    whole = _from(question(house.issuing, 5))
    number = serial.to_bytes((serial.bit_length() + 8) // 8, "big", signed=True)
    if serial < 0 and len(number) > 1 and number[0] == 0xFF and number[1] & 0x80:
        number = number[1:]
    return tlv(0x30, whole[2:-3], tlv(0x02, number))
