"""Both implementations of `Signer` keep the same promises."""

from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ca.hsm import KeyKind, Signer, State, TokenFault
from ca.pki.keys import verify
from ca.refusals import Reason
from tests.memory_signer import MemorySigner


@pytest.fixture(params=["token", "memory"])
def signer(request: pytest.FixtureRequest) -> Iterator[Signer]:
    yield request.getfixturevalue("owner") if request.param == "token" else MemorySigner()


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.P384, KeyKind.ED25519, KeyKind.RSA_2048])
def test_signatures_come_in_order_and_verify(signer: Signer, kind: KeyKind) -> None:
    public_key = signer.generate("issuing", kind)
    messages = [b"one", b"two", b""]
    signatures = signer.sign(public_key, messages).result()
    for signature, message in zip(signatures, messages, strict=True):
        verify(public_key, signature, message)


def test_nothing_asked_is_nothing_signed(signer: Signer) -> None:
    assert signer.sign(signer.generate("issuing", KeyKind.P256), []).result() == []


def test_a_key_may_be_adopted_twice(signer: Signer) -> None:
    public_key = signer.generate("issuing", KeyKind.P256)
    signer.adopt("by another name", public_key)
    assert len(signer.sign(public_key, [b"m"]).result()) == 1


def test_a_strange_key_is_neither_adopted_nor_used(signer: Signer) -> None:
    stranger = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(TokenFault, match="is missing, by its public half") as caught:
        signer.adopt("issuing", stranger)
    assert caught.value.reason is Reason.UNAVAILABLE
    with pytest.raises(TokenFault, match="was not adopted by this process"):
        signer.sign(stranger, [b"m"]).result()
    assert signer.health().state is State.UP


def test_a_distrusted_key_is_out_and_the_others_sign_on(signer: Signer) -> None:
    wrong, right = signer.generate("wrong", KeyKind.P256), signer.generate("right", KeyKind.P256)
    signer.distrust(wrong, "a signature did not verify.")
    fault = signer.sign(wrong, [b"m"]).exception(timeout=0)
    assert isinstance(fault, TokenFault)
    assert "a signature did not verify" in str(fault)
    assert signer.health().state is State.DEGRADED
    assert "a signature did not verify" in signer.health().sentence
    assert len(signer.sign(right, [b"m"]).result(5)) == 1


def test_a_strange_key_cannot_be_distrusted(signer: Signer) -> None:
    signer.distrust(ec.generate_private_key(ec.SECP256R1()).public_key(), "why")
    assert signer.health().state is State.UP


def test_the_one_in_memory_counts_and_can_be_taken_down() -> None:
    signer = MemorySigner()
    public_key = signer.generate("issuing")
    signer.down = "The token is on holiday."
    assert isinstance(signer.sign(public_key, [b"m"]).exception(timeout=0), TokenFault)
    assert signer.health().state is State.DOWN
    signer.down = None
    signer.sign(public_key, [b"m"]).result()
    assert signer.signed == [b"m"]
