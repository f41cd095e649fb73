"""Keys in a real token: made to stay, found by their public half, refused when badly kept."""

import os
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, exceptions

from ca.hsm import keys
from ca.hsm.keys import find, generate
from ca.hsm.signer import KeyKind, TokenFault
from ca.hsm.token import Token
from ca.pki.keys import PublicKey, verify

P256 = bytes.fromhex("06082a8648ce3d030107")
ON_TOKEN = {"store": True, "capabilities": MechanismFlag.SIGN | MechanismFlag.VERIFY}


def private_object(token: Token, label: str) -> Any:
    return token.session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=label)


def pair(token: Token, label: str, **private: Any) -> PublicKey:
    """A P-256 pair as another program might make it."""
    template = {Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}
    template |= {Attribute[name]: value for name, value in private.items()}
    with token.writing() as session:
        domain = session.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: P256}, local=True)
        public, _ = domain.generate_keypair(id=os.urandom(8), label=label, private_template=template, **ON_TOKEN)
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public[Attribute.EC_POINT][2:])


ML_DSA = [KeyKind.ML_DSA_44, KeyKind.ML_DSA_65, KeyKind.ML_DSA_87]
KINDS = [
    pytest.param(kind, marks=pytest.mark.slow) if kind is KeyKind.RSA_4096 else kind
    for kind in KeyKind
    if kind not in ML_DSA
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_made_found_and_signs(token: Token, kind: KeyKind) -> None:
    made = generate(token, "issuing", kind)
    again = find(token.session, "another name for people", made.public_key)
    verify(made.public_key, again.sign(b"a message"), b"a message")


@pytest.mark.parametrize("kind", ML_DSA)
def test_a_module_without_ml_dsa_says_so(token: Token, kind: KeyKind) -> None:
    with pytest.raises(TokenFault, match=f"cannot make a key of the kind {kind}; choose another kind"):
        generate(token, "issuing", kind)


def test_a_key_cannot_be_read_wrapped_or_opened_up(token: Token) -> None:
    key = generate(token, "issuing", KeyKind.P256).handle
    with pytest.raises(exceptions.AttributeSensitive):
        key[Attribute.VALUE]
    with token.writing() as session:
        writable = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label="issuing")
        for attribute, value in ((Attribute.EXTRACTABLE, True), (Attribute.SENSITIVE, False)):
            with pytest.raises(exceptions.AttributeReadOnly):
                writable[attribute] = value
        wrapping = session.generate_key(KeyType.AES, 256, capabilities=MechanismFlag.WRAP)
        with pytest.raises(exceptions.KeyUnextractable):
            wrapping.wrap_key(writable, mechanism=Mechanism.AES_KEY_WRAP_PAD)


def test_a_key_only_signs(token: Token) -> None:
    key = generate(token, "issuing", KeyKind.P256).handle
    purposes = [Attribute.SIGN, Attribute.DECRYPT, Attribute.UNWRAP, Attribute.DERIVE]
    assert [key[purpose] for purpose in purposes] == [True, False, False, False]


def test_two_keys_with_one_label_are_told_apart(token: Token) -> None:
    first, second = (generate(token, "ocsp", KeyKind.P256) for _ in range(2))
    assert first.public_key != second.public_key
    for key in (first, second):
        verify(key.public_key, find(token.session, "ocsp", key.public_key).sign(b"m"), b"m")


def test_a_key_that_is_not_there_is_named(token: Token) -> None:
    stranger = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(TokenFault, match="'issuing' in the token is missing"):
        find(token.session, "issuing", stranger)


@pytest.mark.parametrize(
    ("private", "named"),
    [({"EXTRACTABLE": True}, "CKA_EXTRACTABLE must be false"), ({"SENSITIVE": False}, "SENSITIVE")],
)
def test_a_key_that_could_leave_is_refused(token: Token, private: dict[str, bool], named: str) -> None:
    public_key = pair(token, "open", **private)
    with pytest.raises(TokenFault, match=named):
        find(token.session, "open", public_key)


def test_a_key_that_asks_for_its_pin_each_time_is_refused(token: Token) -> None:
    public_key = pair(token, "pedantic", ALWAYS_AUTHENTICATE=True)
    with pytest.raises(TokenFault, match="CKA_ALWAYS_AUTHENTICATE must be false"):
        find(token.session, "pedantic", public_key)


def test_an_imported_key_is_refused(token: Token) -> None:
    outside = ec.generate_private_key(ec.SECP256R1())
    common = {Attribute.KEY_TYPE: KeyType.EC, Attribute.EC_PARAMS: P256, Attribute.ID: b"i", Attribute.TOKEN: True}
    point = keys._values(outside.public_key())[0]
    secret = {
        Attribute.VALUE: outside.private_numbers().private_value.to_bytes(32, "big"),
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: False,
        Attribute.SIGN: True,
    }
    with token.writing() as session:
        session.create_object({Attribute.CLASS: ObjectClass.PUBLIC_KEY, **common, **point})
        session.create_object({Attribute.CLASS: ObjectClass.PRIVATE_KEY, **common, **secret})
    with pytest.raises(TokenFault, match="CKA_ALWAYS_SENSITIVE must be true"):
        find(token.session, "imported", outside.public_key())


@pytest.mark.parametrize("attribute", keys._REQUIRED)
def test_each_attribute_is_checked_and_absence_is_no_proof(attribute: Attribute) -> None:
    class Partial(dict[Attribute, bool]):
        def __missing__(self, key: Attribute) -> bool:
            raise exceptions.AttributeTypeInvalid

    keys._check_attributes(Partial(keys._REQUIRED), "The key")
    with pytest.raises(TokenFault, match=f"CKA_{attribute.name} must be"):
        keys._check_attributes(Partial({**keys._REQUIRED, attribute: not keys._REQUIRED[attribute]}), "The key")
    without = Partial({name: value for name, value in keys._REQUIRED.items() if name is not attribute})
    if attribute is Attribute.ALWAYS_AUTHENTICATE:
        keys._check_attributes(without, "The key")
    else:
        with pytest.raises(TokenFault, match=f"CKA_{attribute.name} must be"):
            keys._check_attributes(without, "The key")


def swap_ids(token: Token, first: str, second: str) -> None:
    """The private halves of two keys change places, as after a restore that went wrong."""
    with token.writing() as session:
        halves = [session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=label) for label in (first, second)]
        ids = [half[Attribute.ID] for half in halves]
        for half, identifier in zip(halves, reversed(ids), strict=True):
            half[Attribute.ID] = identifier


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (KeyKind.P256, "is not the private half of the expected public key"),
        (KeyKind.P384, "is not the private half of the expected public key"),
        (KeyKind.RSA_2048, "is missing"),
    ],
)
def test_a_key_of_another_public_half_is_refused(token: Token, other: KeyKind, says: str) -> None:
    wanted = generate(token, "issuing", KeyKind.P256).public_key
    generate(token, "other", other)
    swap_ids(token, "issuing", "other")
    with pytest.raises(TokenFault, match=says):
        find(token.session, "issuing", wanted)


def test_swapped_labels_change_nothing(token: Token) -> None:
    wanted = generate(token, "issuing", KeyKind.P256).public_key
    generate(token, "other", KeyKind.P256)
    with token.writing() as session:
        for old, new in (("issuing", "x"), ("other", "issuing"), ("x", "other")):
            session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=old)[Attribute.LABEL] = new
    verify(wanted, find(token.session, "issuing", wanted).sign(b"m"), b"m")


def test_two_private_keys_under_one_id_are_refused(token: Token) -> None:
    wanted = generate(token, "issuing", KeyKind.P256).public_key
    generate(token, "other", KeyKind.P256)
    with token.writing() as session:
        issuing = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label="issuing")
        other = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label="other")
        other[Attribute.ID] = issuing[Attribute.ID]
    with pytest.raises(TokenFault, match="is there 2 times"):
        find(token.session, "issuing", wanted)


def test_a_public_object_with_a_bare_point_is_found_too(token: Token) -> None:
    """Some modules store CKA_EC_POINT without its OCTET STRING."""
    wanted = generate(token, "issuing", KeyKind.P256).public_key
    with token.writing() as session:
        public = session.get_key(object_class=ObjectClass.PUBLIC_KEY, label="issuing")
        common = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.KEY_TYPE: KeyType.EC, Attribute.EC_PARAMS: P256}
        where = {Attribute.ID: public[Attribute.ID], Attribute.TOKEN: True}
        public.destroy()
        session.create_object({**common, **where, **keys._values(wanted)[1]})
    verify(wanted, find(token.session, "issuing", wanted).sign(b"m"), b"m")


def test_a_kind_that_the_token_cannot_make_is_refused_in_words(token: Token, monkeypatch: pytest.MonkeyPatch) -> None:
    # SoftHSM makes them all, so one is asked for by a mechanism that makes no key pair.
    monkeypatch.setattr(keys, "Mechanism", SimpleNamespace(EC_EDWARDS_KEY_PAIR_GEN=Mechanism.AES_KEY_GEN))
    with pytest.raises(TokenFault, match="cannot make a key of the kind Ed25519"):
        generate(token, "issuing", KeyKind.ED25519)
