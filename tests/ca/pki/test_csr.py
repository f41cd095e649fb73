from __future__ import annotations

from base64 import b64encode
from contextlib import suppress
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from ca.pki import certificate, csr
from ca.pki.certificate import Contents, Holder
from ca.pki.keys import spki, thumbprint
from ca.pki.profile import Kind
from ca.refusals import Reason, Refused
from tests.ca.pki import requests as made
from tests.ca.pki.specimens import DOMAIN, SPIFFE, SUBJECT, Hierarchy, serial, uri


def reason_of(raw: bytes) -> Reason:
    with pytest.raises(Refused) as caught:
        csr.parse(raw)
    return caught.value.reason


def built(key: object, *extensions: x509.ExtensionType, subject: x509.Name | None = None) -> bytes:
    """A request by the library's builder."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject or x509.Name([]))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.DER)  # type: ignore[arg-type]


USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def usage(**flags: bool) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: flags.get(name, False) for name in USAGES})


# What is taken.


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-256", "P-384", "Ed25519", "RSA"],
)
def test_the_key_is_taken(key: ec.EllipticCurvePrivateKey) -> None:
    request = csr.parse(built(key))
    assert spki(request.public_key) == spki(key.public_key())
    assert request.key_thumbprint == thumbprint(key.public_key())


def test_pem_der_and_base64_are_one_request() -> None:
    der = made.request(made.info())
    base64 = b64encode(der)
    wrapped = b"\r\n".join(base64[i : i + 64] for i in range(0, len(base64), 64))
    pem = b"-----BEGIN CERTIFICATE REQUEST-----\r\n" + wrapped + b"\r\n-----END CERTIFICATE REQUEST-----\r\n"
    assert csr.parse(der) == csr.parse(pem) == csr.parse(base64) == csr.parse(b"\n" + wrapped + b"\n")


BASE64 = b64encode(made.request(made.info()))
ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
PLACE = st.integers(0, len(BASE64))


@given(st.lists(st.tuples(PLACE, st.sampled_from([b" ", b"\t", b"\r", b"\n", b"\r\n"])), max_size=60))
def test_white_space_anywhere_in_base64_is_nothing(spaces: list[tuple[int, bytes]]) -> None:
    """RFC 8951 3.1, RFC 7468 3."""
    text = BASE64
    for place, space in sorted(spaces, reverse=True):
        text = text[:place] + space + text[place:]
    assert csr.parse(text) == csr.parse(BASE64)


@given(place=PLACE, octet=st.sampled_from(sorted(set(range(256)) - set(ALPHABET) - set(b" \t\r\n\v\f"))))
def test_another_octet_anywhere_in_base64_is_malformed(place: int, octet: int) -> None:
    """A reader that passes over what it does not know reads two requests as one."""
    assert reason_of(BASE64[:place] + bytes([octet]) + BASE64[place:]) is Reason.CSR_MALFORMED


@given(st.binary(max_size=400) | st.text(ALPHABET.decode() + "\r\n-").map(str.encode), PLACE)
def test_whatever_is_sent_is_refused_in_words(raw: bytes, place: int) -> None:
    for sent in (raw, BASE64[:place] + raw, b64encode(raw)):
        with suppress(Refused):
            assert csr.parse(sent) == csr.parse(BASE64)


def test_names_are_read_to_be_compared() -> None:
    request = csr.parse(built(made.KEY, x509.SubjectAlternativeName([uri(SPIFFE)]), subject=SUBJECT))
    assert request.subject == SUBJECT
    assert request.alternative_names == (uri(SPIFFE),)
    csr.check_identity(request, SUBJECT, SPIFFE)


def test_names_may_be_left_out() -> None:
    request = csr.parse(made.request(made.info()))
    assert request.alternative_names is None
    csr.check_identity(request, SUBJECT, SPIFFE)


HARMLESS = {
    "basicConstraints CA:FALSE": x509.BasicConstraints(ca=False, path_length=None),
    "keyUsage digitalSignature": usage(digital_signature=True),
    "keyUsage keyEncipherment": usage(key_encipherment=True),
    "EKU clientAuth": x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]),
    "SKI": x509.SubjectKeyIdentifier(b"chosen by me"),
}


@pytest.mark.parametrize("extension", HARMLESS.values(), ids=HARMLESS.keys())
def test_what_could_not_matter_is_ignored_and_never_copied(extension: x509.ExtensionType, hierarchy: Hierarchy) -> None:
    plain, asked = csr.parse(built(made.KEY)), csr.parse(built(made.KEY, extension))
    assert certified(hierarchy, asked) == certified(hierarchy, plain)


@given(
    challenge=st.text(min_size=1, max_size=60),
    names=st.booleans(),
    harmless=st.lists(st.sampled_from(sorted(HARMLESS)), unique_by=lambda name: name.split()[0]),
)
def test_a_certificate_is_a_function_of_policy_identity_and_key(
    hierarchy: Hierarchy, challenge: str, names: bool, harmless: list[str]
) -> None:
    """Case 9: whatever passes, the bytes are those that the key alone would get."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(SUBJECT if names else x509.Name([]))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([uri(SPIFFE)]), critical=True)
    for name in harmless:
        builder = builder.add_extension(HARMLESS[name], critical=True)
    builder = builder.add_attribute(x509.ObjectIdentifier("1.2.840.113549.1.9.7"), challenge.encode())
    request = csr.parse(builder.sign(made.KEY, hashes.SHA384()).public_bytes(Encoding.DER))
    csr.check_identity(request, SUBJECT, SPIFFE)
    assert certified(hierarchy, request) == certified(hierarchy, csr.parse(made.request(made.info())))


def certified(hierarchy: Hierarchy, request: csr.CertificateRequest) -> bytes:
    """What enrolment makes of a request: the contents are policy's, the key is the request's."""
    policy = hierarchy.contents(Kind.AGENT)
    holder = Holder(policy.holder.subject, request.public_key, policy.holder.alternative_names)
    contents = Contents(policy.kind, holder, policy.validity, policy.private)
    return certificate.to_be_signed(contents, serial(), hierarchy.issuer).tbs


# What is refused: case 9.

GREEDY = {
    "CA:TRUE": x509.BasicConstraints(ca=True, path_length=None),
    "CA:TRUE pathlen": x509.BasicConstraints(ca=True, path_length=3),
    "keyCertSign": usage(key_cert_sign=True),
    "cRLSign": usage(crl_sign=True),
    "keyCertSign beside digitalSignature": usage(digital_signature=True, key_cert_sign=True),
    "anyExtendedKeyUsage": x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]),
    "serverAuth": x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
    "clientAuth and any": x509.ExtendedKeyUsage(
        [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]
    ),
    "OCSPSigning": x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]),
    "smartcard logon": x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.2")]),
    "nameConstraints": x509.NameConstraints([uri(DOMAIN)], None),
    "certificatePolicies": x509.CertificatePolicies(
        [x509.PolicyInformation(x509.ObjectIdentifier("2.5.29.32.0"), None)]
    ),
    "ocsp-nocheck": x509.OCSPNoCheck(),
    "AIA": x509.AuthorityInformationAccess(
        [x509.AccessDescription(x509.ObjectIdentifier("1.3.6.1.5.5.7.48.1"), uri("http://evil.example"))]
    ),
    "CRL distribution point": x509.CRLDistributionPoints(
        [x509.DistributionPoint([uri("http://evil.example")], None, None, None)]
    ),
    "AKI": x509.AuthorityKeyIdentifier(b"x" * 20, None, None),
    "TLS feature": x509.TLSFeature([x509.TLSFeatureType.status_request]),
    "our own task extension": x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.1.1"), b"\x30\x00"),
    "the NTDS SID extension": x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.311.25.2"), b"\x30\x00"),
}


@pytest.mark.parametrize("extension", GREEDY.values(), ids=GREEDY.keys())
def test_asking_for_more_than_an_end_entity_gets_is_refused(extension: x509.ExtensionType) -> None:
    assert reason_of(built(made.KEY, extension)) is Reason.CSR_EXTENSION


FOREIGN_SANS = {
    "another URI": [uri("spiffe://agents.example/agent/acme/other")],
    "another tenant": [uri("spiffe://agents.example/agent/evil/billing-bot")],
    "another domain": [uri("spiffe://evil.example/agent/acme/billing-bot")],
    "upper case": [uri("spiffe://agents.example/agent/acme/Billing-Bot")],
    "upper-case scheme": [uri("SPIFFE://agents.example/agent/acme/billing-bot")],
    "trailing slash": [uri(f"{SPIFFE}/")],
    "dot segment": [uri("spiffe://agents.example/agent/acme/./billing-bot")],
    "dot dot": [uri("spiffe://agents.example/agent/acme/x/../billing-bot")],
    "percent-encoded slash": [uri("spiffe://agents.example/agent/acme%2fbilling-bot")],
    "query": [uri(f"{SPIFFE}?x")],
    "fragment": [uri(f"{SPIFFE}#x")],
    "port": [uri("spiffe://agents.example:443/agent/acme/billing-bot")],
    "NUL": [uri(f"{SPIFFE}\0.evil")],
    "leading space": [uri(f" {SPIFFE}")],
    "the right one twice": [uri(SPIFFE), uri(SPIFFE)],
    "the right one and a DNS name": [uri(SPIFFE), x509.DNSName("evil.example")],
    "DNS name": [x509.DNSName("agents.example")],
    "DNS wildcard": [x509.DNSName("*.example")],
    "email": [x509.RFC822Name("root@agents.example")],
    "IP address": [x509.IPAddress(ip_address("127.0.0.1"))],
    "UPN": [x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x05admin")],
    "directory name": [x509.DirectoryName(SUBJECT)],
    "registered id": [x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))],
}


@pytest.mark.parametrize("names", FOREIGN_SANS.values(), ids=FOREIGN_SANS.keys())
def test_a_foreign_alternative_name_is_refused(names: list[x509.GeneralName]) -> None:
    request = csr.parse(built(made.KEY, x509.SubjectAlternativeName(names)))
    with pytest.raises(Refused) as caught:
        csr.check_identity(request, SUBJECT, SPIFFE)
    assert caught.value.reason is Reason.CSR_IDENTITY


def test_an_empty_alternative_name_is_refused() -> None:
    request = csr.parse(made.request(made.info(attributes=made.asking(made.alternative_names()))))
    assert request.alternative_names == ()
    with pytest.raises(Refused) as caught:
        csr.check_identity(request, SUBJECT, SPIFFE)
    assert caught.value.reason is Reason.CSR_IDENTITY


def attribute(oid: x509.ObjectIdentifier, value: str) -> x509.NameAttribute:
    return x509.NameAttribute(oid, value)


RIGHT = list(SUBJECT)
FOREIGN_SUBJECTS = {
    "another name": [*RIGHT[:2], attribute(NameOID.COMMON_NAME, "other")],
    "another tenant": [RIGHT[0], attribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "evil"), RIGHT[2]],
    "another order": RIGHT[::-1],
    "a part of it": RIGHT[2:],
    "one RDN more": [*RIGHT, attribute(NameOID.SERIAL_NUMBER, "1")],
    "two common names": [*RIGHT, attribute(NameOID.COMMON_NAME, "admin")],
    "email": [*RIGHT, attribute(NameOID.EMAIL_ADDRESS, "root@agents.example")],
    "upper case": [*RIGHT[:2], attribute(NameOID.COMMON_NAME, "Billing-Bot")],
    "trailing space": [*RIGHT[:2], attribute(NameOID.COMMON_NAME, "billing-bot ")],
    "NUL": [*RIGHT[:2], attribute(NameOID.COMMON_NAME, "billing-bot\0")],
    "right-to-left override": [*RIGHT[:2], attribute(NameOID.COMMON_NAME, "\u202ebilling-bot")],
    "Cyrillic": [*RIGHT[:2], attribute(NameOID.COMMON_NAME, "b\u0456lling-bot")],
}


@pytest.mark.parametrize("attributes", FOREIGN_SUBJECTS.values(), ids=FOREIGN_SUBJECTS.keys())
def test_a_foreign_subject_is_refused(attributes: list[x509.NameAttribute]) -> None:
    request = csr.parse(built(made.KEY, subject=x509.Name(attributes)))
    with pytest.raises(Refused) as caught:
        csr.check_identity(request, SUBJECT, SPIFFE)
    assert caught.value.reason is Reason.CSR_IDENTITY
    assert "CN=billing-bot" in caught.value.detail, "it says what the subject must be"


def test_a_subject_in_one_rdn_is_not_the_computed_one() -> None:
    subject = x509.Name([x509.RelativeDistinguishedName(RIGHT)])
    with pytest.raises(Refused) as caught:
        csr.check_identity(csr.parse(built(made.KEY, subject=subject)), SUBJECT, SPIFFE)
    assert caught.value.reason is Reason.CSR_IDENTITY


# Proof of possession: case 10.


def test_a_signature_by_another_key_proves_nothing() -> None:
    assert reason_of(made.request(made.info(), signer=made.OTHER_KEY)) is Reason.CSR_UNPROVEN


def test_a_signature_over_other_bytes_proves_nothing() -> None:
    other = made.KEY.sign(made.info(subject=made.name(b"x")), ec.ECDSA(hashes.SHA256()))
    assert reason_of(made.sealed(made.info(), other)) is Reason.CSR_UNPROVEN


@pytest.mark.parametrize("signature", [b"", b"\x00", b"\x30\x00", bytes(72)], ids=["none", "zero", "empty", "zeros"])
def test_no_signature_proves_nothing(signature: bytes) -> None:
    assert reason_of(made.sealed(made.info(), signature)) is Reason.CSR_UNPROVEN


def test_r_and_s_of_zero_prove_nothing() -> None:
    """CVE-2022-21449: the blank signature."""
    assert reason_of(made.sealed(made.info(), bytes.fromhex("3006020100020100"))) is Reason.CSR_UNPROVEN


@pytest.mark.parametrize("hash_oid", ["1", "3"], ids=["SHA-1", "SHA-224"])
def test_a_signature_with_a_weak_hash_proves_nothing(hash_oid: str) -> None:
    last = {"1": "06072a8648ce3d0401", "3": "06082a8648ce3d040301"}[hash_oid]
    algorithm: hashes.HashAlgorithm = hashes.SHA1() if hash_oid == "1" else hashes.SHA224()
    body = made.info()
    signature = made.KEY.sign(body, ec.ECDSA(algorithm))
    raw = made.sealed(body, signature, made.tlv(made.SEQUENCE, bytes.fromhex(last)))
    assert reason_of(raw) is Reason.CSR_UNPROVEN


@pytest.mark.parametrize(("algorithm", "last"), [(hashes.MD5(), "04"), (hashes.SHA1(), "05")], ids=["MD5", "SHA-1"])
def test_an_rsa_signature_with_a_weak_hash_proves_nothing(algorithm: hashes.HashAlgorithm, last: str) -> None:
    key = rsa.generate_private_key(65537, 2048)
    body = made.info(key=spki(key.public_key()))
    signature = key.sign(body, padding.PKCS1v15(), algorithm)
    identifier = bytes.fromhex(f"300d06092a864886f70d0101{last}0500")
    assert reason_of(made.sealed(body, signature, identifier)) is Reason.CSR_UNPROVEN


def test_an_unknown_signature_algorithm_is_refused() -> None:
    raw = made.request(made.info(), algorithm=bytes.fromhex("300506032a0304"))
    assert reason_of(raw) in (Reason.CSR_MALFORMED, Reason.CSR_UNPROVEN)


# Keys: case 31. The kinds by allow-list; RSA's numbers are `test_keys`.

REFUSED_KEYS = {
    "P-224": ec.generate_private_key(ec.SECP224R1()),
    "P-521": ec.generate_private_key(ec.SECP521R1()),
    "secp256k1": ec.generate_private_key(ec.SECP256K1()),
    "brainpool": ec.generate_private_key(ec.BrainpoolP256R1()),
    "Ed448": ed448.Ed448PrivateKey.generate(),
    "DSA": dsa.generate_private_key(2048),
}


@pytest.mark.parametrize("key", REFUSED_KEYS.values(), ids=REFUSED_KEYS.keys())
def test_a_key_off_the_list_is_refused(key: object) -> None:
    assert reason_of(built(key)) is Reason.KEY_REFUSED


def test_a_key_that_cannot_sign_is_refused() -> None:
    exchange = x25519.X25519PrivateKey.generate().public_key().public_bytes_raw()
    key = made.tlv(made.SEQUENCE, bytes.fromhex("300506032b656e"), made.tlv(made.BITS, b"\x00", exchange))
    assert reason_of(made.request(made.info(key=key))) is Reason.KEY_REFUSED


RSA_WITH_SHA256 = bytes.fromhex("300d06092a864886f70d01010b0500")
P256_CURVE = bytes.fromhex("06082a8648ce3d030107")
EXPLICIT = made.tlv(made.SEQUENCE, made.number(1), made.tlv(made.SEQUENCE, bytes.fromhex("06072a8648ce3d0101")))
GENERATOR = bytes.fromhex(
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
BROKEN_KEYS = {
    "point off the curve": made.elliptic_key(GENERATOR[:-1] + b"\xf4", P256_CURVE),
    "point at infinity": made.elliptic_key(b"\x00", P256_CURVE),
    "coordinates beyond the field": made.elliptic_key(b"\x04" + b"\xff" * 64, P256_CURVE),
    "short point": made.elliptic_key(GENERATOR[:-1], P256_CURVE),
    "no point": made.elliptic_key(b"", P256_CURVE),
    "point of another curve": made.elliptic_key(GENERATOR, bytes.fromhex("06052b81040022")),
    "explicit parameters": made.elliptic_key(GENERATOR, EXPLICIT),
    "parameters inherited": made.elliptic_key(GENERATOR, b"\x05\x00"),
    "no parameters": made.elliptic_key(GENERATOR, b""),
    "RSA, exponent 1": made.rsa_key((1 << 2047) | 1, 1),
    "RSA, even exponent": made.rsa_key((1 << 2047) | 1, 4),
    "RSA, modulus 0": made.rsa_key(0, 65537),
    "Ed25519 of 31 octets": made.tlv(
        made.SEQUENCE, bytes.fromhex("300506032b6570"), made.tlv(made.BITS, b"\x00", bytes(31))
    ),
    "ML-DSA-44 of the wrong length": made.tlv(
        made.SEQUENCE, bytes.fromhex("300b0609608648016503040311"), made.tlv(made.BITS, b"\x00", bytes(100))
    ),
    "unknown algorithm": made.tlv(made.SEQUENCE, bytes.fromhex("300506032a0304"), made.tlv(made.BITS, b"\x00key")),
    "not a key": b"\x30\x00",
}


@pytest.mark.parametrize("key", BROKEN_KEYS.values(), ids=BROKEN_KEYS.keys())
def test_a_broken_key_is_refused(key: bytes) -> None:
    assert reason_of(made.request(made.info(key=key))) in (Reason.CSR_MALFORMED, Reason.KEY_REFUSED)


def test_a_compressed_point_is_refused() -> None:
    """Two spellings of one key would be two digests, and a second identity for it."""
    compressed = made.elliptic_key(made.point(compressed=True), P256_CURVE)
    assert reason_of(made.request(made.info(key=compressed))) is Reason.KEY_REFUSED


def test_another_spelling_of_a_key_is_refused() -> None:
    """RFC 3279 2.3.1: RSA's parameters are NULL, not absent."""
    key = rsa.generate_private_key(65537, 2048)
    plain = spki(key.public_key())
    absent = made.tlv(made.SEQUENCE, made.tlv(made.SEQUENCE, bytes.fromhex("06092a864886f70d010101")), plain[19:])
    body = made.info(key=absent)
    raw = made.sealed(body, key.sign(body, padding.PKCS1v15(), hashes.SHA256()), RSA_WITH_SHA256)
    assert reason_of(raw) is Reason.KEY_REFUSED
