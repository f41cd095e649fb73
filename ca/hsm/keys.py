"""Keys in the token: generated so that they cannot leave, found by their public half, checked before use."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, MLDSAParameterSet, ObjectClass, exceptions

from ca.hsm.mechanisms import procedure_for
from ca.hsm.signer import KeyKind, TokenFault
from ca.hsm.token import Token
from ca.pki.keys import InvalidSignature, MlDsaPublicKey, PublicKey, verify

# Whatever this authority signs is a DER SEQUENCE and begins with 0x30, so no signature over this is ever one of those.
_TEST_PREFIX = b"Remit proves that this key is in the token: "

# PKCS #11 v3.0 4.9. What a key must say of itself for us to believe that there is no copy of it.
_REQUIRED = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.ALWAYS_SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.NEVER_EXTRACTABLE: True,
    Attribute.LOCAL: True,
    Attribute.SIGN: True,
    Attribute.ALWAYS_AUTHENTICATE: False,
}
# Added to the standard late (v2.20); a module without it does not ask for the PIN at each signature.
_ABSENT_MEANS = {Attribute.ALWAYS_AUTHENTICATE: False}

# DER of the curves' object identifiers (RFC 5480 2.1.1.1, RFC 8410 3): CKA_EC_PARAMS.
_CURVES = {
    KeyKind.P256: bytes.fromhex("06082a8648ce3d030107"),
    KeyKind.P384: bytes.fromhex("06052b81040022"),
    KeyKind.ED25519: bytes.fromhex("06032b6570"),
}
# PKCS #11 v3.2: CKA_PARAMETER_SET of an ML-DSA key (FIPS 204), and what its CKA_VALUE becomes.
_ML_DSA: dict[KeyKind, tuple[MLDSAParameterSet, Callable[[bytes], MlDsaPublicKey]]] = {
    KeyKind.ML_DSA_44: (MLDSAParameterSet.ML_DSA_44, mldsa.MLDSA44PublicKey.from_public_bytes),
    KeyKind.ML_DSA_65: (MLDSAParameterSet.ML_DSA_65, mldsa.MLDSA65PublicKey.from_public_bytes),
    KeyKind.ML_DSA_87: (MLDSAParameterSet.ML_DSA_87, mldsa.MLDSA87PublicKey.from_public_bytes),
}
_RSA_BITS = {KeyKind.RSA_2048: 2048, KeyKind.RSA_3072: 3072, KeyKind.RSA_4096: 4096}
_UNSUPPORTED = (exceptions.MechanismInvalid, exceptions.KeySizeRange, exceptions.FunctionNotSupported)


class KeyUnfit(TokenFault):
    """A key is missing from the token, is badly kept, or is not the one that it should be."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key in the token that proved to be the other half of `public_key`. Of the owner's thread alone."""

    label: str
    public_key: PublicKey
    handle: Any

    def sign(self, message: bytes) -> bytes:
        """An X.509 signature over `message`. Raises `PKCS11Error`, or `ValueError` for an output of the wrong size."""
        procedure = procedure_for(self.public_key)
        raw: bytes = self.handle.sign(procedure.prepare(message), mechanism=procedure.mechanism)
        return procedure.finish(raw)

    def sign_all(self, messages: Sequence[bytes], after_each: Callable[[], None]) -> list[bytes]:
        """Signatures over `messages`, in their order. Raises as `sign`."""
        signatures = []
        for message in messages:
            signatures.append(self.sign(message))
            after_each()
        return signatures

    def prove(self) -> None:
        """Signs a random test. Raises `KeyUnfit` if the handle names another key, `PKCS11Error` if it names none."""
        message = _TEST_PREFIX + os.urandom(16)
        try:
            verify(self.public_key, self.sign(message), message)
        except (InvalidSignature, ValueError) as error:
            raise KeyUnfit(
                f"{_named(self.label)} is not the private half of the expected public key; restore the right token."
            ) from error


def generate(token: Token, label: str, kind: KeyKind) -> SigningKey:
    """Makes a key pair in the token, private, sensitive, never extractable, for signatures alone.

    Raises `TokenFault` where the token cannot make this kind, `PKCS11Error` when it is lost.
    """
    with token.writing() as session:
        try:
            public, _ = _generate_pair(session, label, kind)
        except _UNSUPPORTED as error:
            raise TokenFault(f"The token cannot make a key of the kind {kind.value}; choose another kind.") from error
        public_key = _public_key(public, kind)
    # What was asked for is not yet what was made: the same checks as for a key of last year.
    return find(token.session, label, public_key)


def find(session: pkcs11.Session, label: str, public_key: PublicKey) -> SigningKey:
    """The private key whose public half this is, whatever its label and handle are today.

    `label` only names it to people. The public object leads to the private one by CKA_ID, and a
    signature proves the pair: labels, IDs and handles can be swapped, a signature cannot.
    Raises `KeyUnfit` when there is none, more than one, or one that is badly kept.
    """
    name = _named(label)
    private = _private_half(session, public_key, name)
    _check_attributes(private, name)
    found = SigningKey(label, public_key, private)
    found.prove()
    return found


def _named(label: str) -> str:
    return f"The key {label!r} in the token"


def _private_half(session: pkcs11.Session, public_key: PublicKey, name: str) -> Any:
    public_half = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.KEY_TYPE: _key_type(public_key)}
    private_half = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.KEY_TYPE: _key_type(public_key)}
    ids = {
        public[Attribute.ID]
        for value in _values(public_key)
        for public in session.get_objects({**public_half, **value})
    }
    found = [key for identifier in ids for key in session.get_objects({**private_half, Attribute.ID: identifier})]
    if len(found) != 1:
        count = "is missing" if not found else f"is there {len(found)} times under one CKA_ID"
        raise KeyUnfit(f"{name} {count}, by its public half; restore the right token.")
    return found[0]


def _check_attributes(private: Any, name: str) -> None:
    for attribute, required in _REQUIRED.items():
        try:
            actual = private[attribute]
        except exceptions.AttributeTypeInvalid:
            actual = _ABSENT_MEANS.get(attribute)
        if actual is not required:
            raise KeyUnfit(
                f"{name} is refused: CKA_{attribute.name} must be {str(required).lower()}; "
                "use a key that was generated in the token and cannot leave it."
            )


def _key_type(public_key: PublicKey) -> KeyType:
    match public_key:
        case ec.EllipticCurvePublicKey():
            return KeyType.EC
        case ed25519.Ed25519PublicKey():
            return KeyType.EC_EDWARDS
        case rsa.RSAPublicKey():
            return KeyType.RSA
        case mldsa.MLDSA44PublicKey() | mldsa.MLDSA65PublicKey() | mldsa.MLDSA87PublicKey():
            return KeyType.ML_DSA


def _values(public_key: PublicKey) -> list[dict[Attribute, Any]]:
    """How the value may stand in a public object: CKA_EC_POINT is an OCTET STRING, but some modules store it bare."""
    match public_key:
        case rsa.RSAPublicKey():
            modulus = public_key.public_numbers().n
            return [{Attribute.MODULUS: modulus.to_bytes((modulus.bit_length() + 7) // 8, "big")}]
        case mldsa.MLDSA44PublicKey() | mldsa.MLDSA65PublicKey() | mldsa.MLDSA87PublicKey():
            return [{Attribute.VALUE: public_key.public_bytes_raw()}]
        case ec.EllipticCurvePublicKey():
            point = public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        case ed25519.Ed25519PublicKey():
            point = public_key.public_bytes_raw()
    return [{Attribute.EC_POINT: bytes([0x04, len(point)]) + point}, {Attribute.EC_POINT: point}]


def _generate_pair(session: pkcs11.Session, label: str, kind: KeyKind) -> tuple[Any, Any]:
    made: dict[str, Any] = {
        "id": os.urandom(20),
        "label": label,
        "store": True,
        "capabilities": MechanismFlag.SIGN | MechanismFlag.VERIFY,
        "private_template": {Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
    }
    match kind:
        case KeyKind.P256 | KeyKind.P384:
            domain = {Attribute.EC_PARAMS: _CURVES[kind]}
            return session.create_domain_parameters(KeyType.EC, domain, local=True).generate_keypair(**made)
        case KeyKind.ED25519:
            made["public_template"] = {Attribute.EC_PARAMS: _CURVES[kind]}
            made["mechanism"] = Mechanism.EC_EDWARDS_KEY_PAIR_GEN
            return session.generate_keypair(KeyType.EC_EDWARDS, **made)
        case KeyKind.RSA_2048 | KeyKind.RSA_3072 | KeyKind.RSA_4096:
            return session.generate_keypair(KeyType.RSA, _RSA_BITS[kind], **made)
        case KeyKind.ML_DSA_44 | KeyKind.ML_DSA_65 | KeyKind.ML_DSA_87:
            made["public_template"] = {Attribute.PARAMETER_SET: _ML_DSA[kind][0]}
            return session.generate_keypair(KeyType.ML_DSA, **made)


def _public_key(public: Any, kind: KeyKind) -> PublicKey:
    match kind:
        case KeyKind.P256:
            return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public[Attribute.EC_POINT][-65:])
        case KeyKind.P384:
            return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), public[Attribute.EC_POINT][-97:])
        case KeyKind.ED25519:
            return ed25519.Ed25519PublicKey.from_public_bytes(public[Attribute.EC_POINT][-32:])
        case KeyKind.ML_DSA_44 | KeyKind.ML_DSA_65 | KeyKind.ML_DSA_87:
            return _ML_DSA[kind][1](public[Attribute.VALUE])
        case KeyKind.RSA_2048 | KeyKind.RSA_3072 | KeyKind.RSA_4096:
            modulus, exponent = public[Attribute.MODULUS], public[Attribute.PUBLIC_EXPONENT]
            return rsa.RSAPublicNumbers(int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big")).public_key()
