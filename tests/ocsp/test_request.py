"""What is a request, what is not; and that no bytes do anything but parse or be refused."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import example, given
from hypothesis import strategies as st

from ocsp.request import MAX_CERTIFICATES, MAX_OCTETS, Malformed, issuer_hashes, key_hash, parse

SHA1 = x509.ObjectIdentifier("1.3.14.3.2.26")
NONCE_OID = bytes.fromhex("06092b0601050507300102")
OTHER_OID = bytes.fromhex("06092b0601050507300107")
SERIALS = st.integers(min_value=1, max_value=2**159 - 1)


def tlv(tag: int, *contents: bytes) -> bytes:
    """DER by hand, so that faults can be written down."""
    value = b"".join(contents)
    return bytes([tag]) + length(len(value)) + value


def length(size: int) -> bytes:
    if size < 0x80:
        return bytes([size])
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets


def certificate_id(serial: int = 5, parameters: bytes = b"\x05\x00", digest: bytes = b"n" * 20) -> bytes:
    number = serial.to_bytes((serial.bit_length() + 8) // 8, "big", signed=True)
    algorithm = tlv(0x30, bytes.fromhex("06052b0e03021a"), parameters)
    return tlv(0x30, algorithm, tlv(0x04, digest), tlv(0x04, b"k" * 20), tlv(0x02, number))


def request(*singles: bytes, before: bytes = b"", extensions: bytes = b"", after: bytes = b"") -> bytes:
    return tlv(0x30, tlv(0x30, before, tlv(0x30, *singles), extensions), after)


def single(*arguments: bytes) -> bytes:
    return tlv(0x30, certificate_id(), *arguments)


def extension(oid: bytes, value: bytes, critical: bytes = b"") -> bytes:
    return tlv(0x30, oid, critical, tlv(0x04, value))


def extended(*extensions: bytes) -> bytes:
    return request(single(), extensions=tlv(0xA2, tlv(0x30, *extensions)))


@given(SERIALS, st.sampled_from([hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()]))
def test_reads_what_another_library_writes(serial: int, algorithm: hashes.HashAlgorithm) -> None:
    name, key = b"n" * algorithm.digest_size, b"k" * algorithm.digest_size
    built = ocsp.OCSPRequestBuilder().add_certificate_by_hash(name, key, serial, algorithm).build()
    parsed = parse(built.public_bytes(Encoding.DER))
    [only] = parsed.certificates
    assert (only.serial, only.issuer[1:], parsed.nonce) == (serial, (name, key), None)


def test_a_certid_is_kept_octet_for_octet() -> None:
    with_null, without = certificate_id(7), certificate_id(8, parameters=b"")
    parsed = parse(request(tlv(0x30, with_null), tlv(0x30, without)))
    assert [one.der for one in parsed.certificates] == [with_null, without]
    assert [one.issuer for one in parsed.certificates] == [(SHA1, b"n" * 20, b"k" * 20)] * 2


@pytest.mark.parametrize(
    "serial", [0, -1, -(2**200), 2**160, 2**2000], ids=lambda number: f"{number.bit_length()} bits"
)
def test_a_number_that_no_serial_can_be_is_read_and_left_to_the_caller(serial: int) -> None:
    assert parse(request(tlv(0x30, certificate_id(serial)))).certificates[0].serial == serial


@pytest.mark.parametrize(
    "der",
    [
        pytest.param(request(single(), before=tlv(0xA0, b"\x02\x01\x00")), id="the DEFAULT version written out"),
        pytest.param(request(single(), before=tlv(0xA1, tlv(0x86, b"http://who"))), id="who asks, by URI"),
        pytest.param(request(single(), before=tlv(0xA1, tlv(0xA4, tlv(0x30)))), id="who asks, by name"),
        pytest.param(request(single(), after=tlv(0xA0, tlv(0x30, tlv(0x30), tlv(0x03, b"\x00")))), id="signed"),
        pytest.param(request(single(tlv(0xA0, tlv(0x30, extension(OTHER_OID, b""))))), id="service locator"),
        pytest.param(extended(extension(OTHER_OID, b"\x30\x00")), id="an extension that is not understood"),
        pytest.param(extended(extension(OTHER_OID, b"", b"\x01\x01\x00")), id="FALSE written out"),
    ],
)
def test_what_real_clients_write(der: bytes) -> None:
    assert [one.serial for one in parse(der).certificates] == [5]


@pytest.mark.parametrize(
    "der",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(request(), id="no certificate"),
        pytest.param(request(*[single()] * (MAX_CERTIFICATES + 1)), id="too many"),
        pytest.param(request(single()) + b"\x00", id="trailing bytes"),
        pytest.param(request(single(), before=tlv(0xA0, b"\x02\x01\x01")), id="version 2"),
        pytest.param(request(single(), before=tlv(0xA0, b"\x02\x01\xff")), id="version 0"),
        pytest.param(request(tlv(0x30, tlv(0x30, tlv(0x30), tlv(0x04, b""), tlv(0x04, b"")))), id="no serial"),
        pytest.param(request(tlv(0x30, certificate_id(parameters=b"\x30\x00"))), id="a hash with parameters"),
        pytest.param(request(single())[:-1], id="cut"),
        pytest.param(b"\x30\x80" + request(single())[2:] + b"\x00\x00", id="indefinite length"),
        pytest.param(b"\x30\x84\xff\xff\xff\xff", id="a length of 4 GiB"),
        pytest.param(b"\x30\x82\x7f\xff" * 1000, id="a thousand deep"),
        pytest.param(request(single(tlv(0xA0, tlv(0x30, extension(OTHER_OID, b"", b"\x01\x01\xff"))))), id="critical"),
        pytest.param(extended(extension(OTHER_OID, b"", b"\x01\x01\xff")), id="critical for the request"),
        pytest.param(extended(extension(b"\x06\x00", b"")), id="an empty OID"),
        pytest.param(tlv(0x30, tlv(0x06, b"\x81" * 4000)), id="a long OID"),
        pytest.param(request(single()).ljust(MAX_OCTETS + 1, b"\x00"), id="too long"),
    ],
)
def test_what_is_refused(der: bytes) -> None:
    with pytest.raises(Malformed):
        parse(der)


def test_a_serial_that_is_not_minimal_der_is_refused() -> None:
    body = certificate_id(5)[2:]
    assert body.endswith(b"\x02\x01\x05")
    assert parse(request(tlv(0x30, tlv(0x30, body))))
    with pytest.raises(Malformed):
        parse(request(tlv(0x30, tlv(0x30, body[:-3], b"\x02\x02\x00\x05"))))


@pytest.mark.parametrize("size", [1, 16, 32, 33, 127, 128])
@pytest.mark.parametrize("critical", [b"", b"\x01\x01\xff"])
def test_a_nonce_of_1_to_128_octets_is_read(size: int, critical: bytes) -> None:
    nonce = bytes(range(size))
    assert parse(extended(extension(NONCE_OID, tlv(0x04, nonce), critical))).nonce == nonce


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(tlv(0x04), id="0 octets"),
        pytest.param(tlv(0x04, b"n" * 129), id="129 octets"),
        pytest.param(b"n" * 16, id="bare octets"),
        pytest.param(tlv(0x02, b"\x05"), id="an INTEGER"),
        pytest.param(tlv(0x24, tlv(0x04, b"n")), id="constructed"),
        pytest.param(tlv(0x04, b"n") + b"\x00", id="trailing"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_any_other_nonce_is_malformed(value: bytes) -> None:
    with pytest.raises(Malformed):
        parse(extended(extension(NONCE_OID, value)))


def test_two_nonces_are_malformed() -> None:
    nonce = extension(NONCE_OID, tlv(0x04, b"n"))
    with pytest.raises(Malformed):
        parse(extended(nonce, nonce))


@given(st.binary(max_size=MAX_OCTETS + 8))
@example(b"\x30\x03\x30\x01\x30")
def test_any_bytes_parse_or_are_refused(der: bytes) -> None:
    try:
        parsed = parse(der)
    except Malformed:
        return
    assert parsed.certificates


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=255))
def test_one_octet_changed_anywhere_parses_or_is_refused(at: int, octet: int) -> None:
    der = bytearray(extended(extension(NONCE_OID, tlv(0x04, b"nonce"))))
    der[at % len(der)] = octet
    try:
        parsed = parse(bytes(der))
    except Malformed:
        return
    # What is echoed is always what came.
    assert all(one.der in bytes(der) for one in parsed.certificates)


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)])
def test_the_hashes_of_an_issuer_are_those_that_another_library_asks_with(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
) -> None:
    name = x509.Name.from_rfc4514_string("CN=issuer,O=Remit")
    issuer = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2027, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    known = {found[1:] for found in issuer_hashes(issuer)}
    for algorithm in (hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()):
        asked = ocsp.OCSPRequestBuilder().add_certificate(issuer, issuer, algorithm).build()
        assert (asked.issuer_name_hash, asked.issuer_key_hash) in known
    assert key_hash(issuer) == x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest
