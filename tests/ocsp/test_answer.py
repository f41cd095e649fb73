"""The bytes of an answer, read back by another library, and against its own builder's."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed448
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from ca.hsm import KeyKind
from ca.pki.keys import PublicKey, hash_for, spki, verify
from ca.refusals import Refused
from ocsp.answer import GOOD, UNKNOWN, CertStatus, Contents, Revocation, Signatory, refusal, response, response_data
from ocsp.request import CertificateId, Request, parse
from tests.ocsp.house import House, question

AT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
END = AT + timedelta(seconds=60)
REASONS = [reason for reason in x509.ReasonFlags if reason is not x509.ReasonFlags.remove_from_crl]
HOUSES = {kind: House(kind=kind) for kind in (KeyKind.P256, KeyKind.P384, KeyKind.ED25519, KeyKind.RSA_2048)}
HOUSE = HOUSES[KeyKind.P256]
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31)).map(  # noqa: DTZ001 (given a zone here)
    lambda moment: moment.replace(microsecond=0, tzinfo=UTC)
)


def signatory(house: House) -> Signatory:
    return Signatory.of(house.shelf.responders_of["issuing-1"][0])


def certid(serial: int = 77, algorithm: hashes.HashAlgorithm | None = None) -> CertificateId:
    return parse(question(HOUSE.issuing, serial, algorithm)).certificates[0]


def contents(
    *singles: tuple[CertificateId, CertStatus], nonce: bytes | None = None, extended: bool = False
) -> Contents:
    request = Request(tuple(certificate for certificate, _ in singles), nonce)
    return Contents(request, tuple(status for _, status in singles), AT, END, extended)


def answered(
    house: House, *singles: tuple[CertificateId, CertStatus], nonce: bytes | None = None, extended: bool = False
) -> bytes:
    by = signatory(house)
    tbs = response_data(by, contents(*singles, nonce=nonce, extended=extended))
    [signature] = house.signer.sign(by.public_key, [tbs]).result()
    return response(tbs, signature, by)


@pytest.mark.parametrize("house", HOUSES.values(), ids=HOUSES)
def test_every_kind_of_key_signs_what_another_library_reads_and_verifies(house: House) -> None:
    read = ocsp.load_der_ocsp_response(answered(house, (certid(), GOOD)))
    by = signatory(house)
    assert read.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert (read.this_update_utc, read.next_update_utc, read.produced_at_utc) == (AT, END, AT)
    assert read.serial_number == 77
    assert read.responder_key_hash == x509.SubjectKeyIdentifier.from_public_key(by.public_key).digest
    assert read.certificates == [by.certificate]
    verify(by.public_key, read.signature, read.tbs_response_bytes)


@pytest.mark.parametrize("kind", HOUSES)
def test_the_algorithm_is_the_one_that_the_library_s_builder_writes(kind: KeyKind) -> None:
    house = HOUSES[kind]
    by = signatory(house)
    read = ocsp.load_der_ocsp_response(answered(house, (certid(), GOOD)))
    built = (
        ocsp.OCSPResponseBuilder()
        .add_response(house.issuing, house.root, hashes.SHA1(), ocsp.OCSPCertStatus.GOOD, AT, END, None, None)
        .responder_id(ocsp.OCSPResponderEncoding.HASH, by.certificate)
        .certificates([by.certificate])
        .sign(house.signer._keys[_name(by.public_key)], hash_for(by.public_key))
    )
    assert _algorithm(read) == _algorithm(built)


@given(
    st.sampled_from([GOOD, UNKNOWN, *(Revocation(AT, reason) for reason in REASONS)]),
    st.integers(min_value=1, max_value=2**159 - 1),
    st.sampled_from([hashes.SHA1(), hashes.SHA256()]),
)
def test_the_certid_comes_back_octet_for_octet(
    status: CertStatus, serial: int, algorithm: hashes.HashAlgorithm
) -> None:
    asked = certid(serial, algorithm)
    assert asked.der in response_data(signatory(HOUSE), contents((asked, status)))


def test_a_status_for_each_certificate_and_no_more() -> None:
    with pytest.raises(ValueError, match="zip"):
        response_data(signatory(HOUSE), replace(contents((certid(), GOOD)), statuses=(GOOD, GOOD)))


@given(MOMENTS, st.sampled_from(REASONS))
def test_revoked_says_when_and_why(at: datetime, reason: x509.ReasonFlags) -> None:
    read = ocsp.load_der_ocsp_response(answered(HOUSE, (certid(), Revocation(at, reason))))
    assert read.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert read.revocation_time_utc == at
    assert read.revocation_reason == (None if reason is x509.ReasonFlags.unspecified else reason)


def test_several_certificates_in_their_order() -> None:
    statuses = {5: GOOD, 6: UNKNOWN, 7: Revocation(AT, x509.ReasonFlags.superseded)}
    read = ocsp.load_der_ocsp_response(answered(HOUSE, *((certid(serial), one) for serial, one in statuses.items())))
    assert [(one.serial_number, one.certificate_status.name) for one in read.responses] == [
        (5, "GOOD"),
        (6, "UNKNOWN"),
        (7, "REVOKED"),
    ]


@given(st.binary(min_size=1, max_size=128))
def test_the_nonce_is_repeated(nonce: bytes) -> None:
    read = ocsp.load_der_ocsp_response(answered(HOUSE, (certid(), GOOD), nonce=nonce))
    assert [extension.value for extension in read.extensions] == [x509.OCSPNonce(nonce)]
    assert not read.extensions[0].critical


def test_extended_revoke_is_declared_beside_a_nonce() -> None:
    read = ocsp.load_der_ocsp_response(answered(HOUSE, (certid(), GOOD), nonce=b"n", extended=True))
    declared = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.5.5.7.48.1.9"), b"\x05\x00")
    assert [extension.value for extension in read.extensions] == [x509.OCSPNonce(b"n"), declared]


def test_without_extensions_there_is_no_empty_list_of_them() -> None:
    assert len(ocsp.load_der_ocsp_response(answered(HOUSE, (certid(), GOOD))).extensions) == 0


@pytest.mark.parametrize("status", [one for one in ocsp.OCSPResponseStatus if one.name != "SUCCESSFUL"])
def test_a_refusal_is_five_octets(status: ocsp.OCSPResponseStatus) -> None:
    assert refusal(status) == bytes([0x30, 3, 0x0A, 1, status.value])


def test_a_key_that_nobody_here_signs_with_is_refused() -> None:
    with pytest.raises(Refused):
        Signatory.of(HOUSE.certify(ed448.Ed448PrivateKey.generate().public_key()))


def _name(key: PublicKey) -> bytes:
    return spki(key)


def _algorithm(read: ocsp.OCSPResponse) -> bytes:
    """The AlgorithmIdentifier: what stands between the ResponseData and the signature."""
    der = read.public_bytes(Encoding.DER)
    after = der[der.index(read.tbs_response_bytes) + len(read.tbs_response_bytes) :]
    return after[: 2 + after[1]]
