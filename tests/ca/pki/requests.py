"""PKCS #10 requests made octet by octet: what no tool would make, an attacker would (RFC 2986 4)."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ca.identifiers import SpiffeId
from ca.pki.keys import spki

KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())

SEQUENCE, SET, OCTETS, BITS, INTEGER, UTF8 = 0x30, 0x31, 0x04, 0x03, 0x02, 0x0C
VERSION_1 = b"\x02\x01\x00"
ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
EXTENSION_REQUEST = bytes.fromhex("06092a864886f70d01090e")
COMMON_NAME = bytes.fromhex("0603550403")


def tlv(tag: int, *parts: bytes) -> bytes:
    """Tag, length and value in DER."""
    body = b"".join(parts)
    if len(body) < 128:
        return bytes([tag, len(body)]) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def number(value: int) -> bytes:
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def name(value: bytes, tag: int = UTF8, oid: bytes = COMMON_NAME) -> bytes:
    """A Name of one attribute."""
    return tlv(SEQUENCE, tlv(SET, tlv(SEQUENCE, oid, tlv(tag, value))))


def extension(oid: str, value: bytes) -> bytes:
    """`oid` is the contents of the OBJECT IDENTIFIER in hexadecimal, such as 551d11."""
    return tlv(SEQUENCE, tlv(0x06, bytes.fromhex(oid)), tlv(OCTETS, value))


def asking(*extensions: bytes) -> bytes:
    """The attribute that asks for these extensions."""
    return tlv(SEQUENCE, EXTENSION_REQUEST, tlv(SET, tlv(SEQUENCE, *extensions)))


def alternative_names(*names: bytes) -> bytes:
    return extension("551d11", tlv(SEQUENCE, *names))


def uri_name(value: SpiffeId | str) -> bytes:
    return tlv(0x86, str(value).encode())


def info(
    subject: bytes = b"\x30\x00", attributes: bytes = b"", key: bytes | None = None, version: bytes = VERSION_1
) -> bytes:
    """A CertificationRequestInfo."""
    return tlv(SEQUENCE, version, subject, spki(KEY.public_key()) if key is None else key, tlv(0xA0, attributes))


def request(body: bytes, signer: ec.EllipticCurvePrivateKey = KEY, algorithm: bytes = ECDSA_SHA256) -> bytes:
    """The signed request: ECDSA with SHA-256, whatever `algorithm` says."""
    return sealed(body, signer.sign(body, ec.ECDSA(hashes.SHA256())), algorithm)


def sealed(body: bytes, signature: bytes, algorithm: bytes = ECDSA_SHA256) -> bytes:
    return tlv(SEQUENCE, body, algorithm, tlv(BITS, b"\x00", signature))


def elliptic_key(point: bytes, curve: bytes) -> bytes:
    """A SubjectPublicKeyInfo (RFC 5480 2) with any point and any parameters."""
    return tlv(SEQUENCE, tlv(SEQUENCE, bytes.fromhex("06072a8648ce3d0201"), curve), tlv(BITS, b"\x00", point))


def rsa_key(modulus: int, exponent: int) -> bytes:
    """A SubjectPublicKeyInfo (RFC 3279 2.3.1) with any numbers."""
    algorithm = bytes.fromhex("300d06092a864886f70d0101010500")
    return tlv(SEQUENCE, algorithm, tlv(BITS, b"\x00", tlv(SEQUENCE, number(modulus), number(exponent))))


def point(compressed: bool = False) -> bytes:
    form = PublicFormat.CompressedPoint if compressed else PublicFormat.UncompressedPoint
    return KEY.public_key().public_bytes(Encoding.X962, form)
