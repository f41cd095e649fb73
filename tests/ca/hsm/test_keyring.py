"""What a process remembers of its keys."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11 import ObjectClass

from ca.hsm.keyring import Keyring
from ca.hsm.keys import SigningKey, generate
from ca.hsm.register import Register
from ca.hsm.signer import KeyKind, TokenFault
from ca.hsm.token import Token
from ca.pki.keys import PublicKey, spki


def stranger() -> PublicKey:
    return ec.generate_private_key(ec.SECP256R1()).public_key()


def test_a_key_is_there_until_its_handle_is_forgotten() -> None:
    keyring, handle = Keyring(Register()), object()
    key = SigningKey("issuing", stranger(), handle)
    keyring.put(key)
    assert keyring.key(spki(key.public_key)) is key
    keyring.forget_handles()
    with pytest.raises(TokenFault, match="'issuing' is missing"):
        keyring.key(spki(key.public_key))


def test_a_key_that_nobody_adopted_is_refused() -> None:
    with pytest.raises(TokenFault, match="was not adopted by this process"):
        Keyring(Register()).key(spki(stranger()))


def test_handles_are_found_again_and_what_is_missing_is_said(token: Token) -> None:
    register = Register()
    keyring = Keyring(register)
    kept, gone = (generate(token, label, KeyKind.P256) for label in ("kept", "gone"))
    keyring.put(kept)
    keyring.put(gone)
    keyring.forget_handles()
    _destroy(token, "gone")
    keyring.find_missing(token.session)
    assert keyring.key(spki(kept.public_key)).label == "kept"
    [sentence] = register.faults()
    assert "'gone' in the token is missing" in sentence
    with pytest.raises(TokenFault, match="'gone' is missing from the token"):
        keyring.key(spki(gone.public_key))


def test_a_handle_of_another_key_is_found_out(token: Token) -> None:
    keyring = Keyring(Register())
    issuing, other = (generate(token, label, KeyKind.P256) for label in ("issuing", "other"))
    keyring.put(issuing)
    keyring.prove()
    keyring.put(SigningKey("issuing", issuing.public_key, other.handle))
    with pytest.raises(TokenFault, match="'issuing' in the token is not the private half"):
        keyring.prove()


def test_what_is_there_is_not_looked_for_again() -> None:
    register, no_session = Register(), Any
    keyring = Keyring(register)
    keyring.put(SigningKey("issuing", stranger(), object()))
    keyring.find_missing(no_session)
    assert register.faults() == ()


def _destroy(token: Token, label: str) -> None:
    with token.writing() as session:
        for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
            session.get_key(object_class=kind, label=label).destroy()
