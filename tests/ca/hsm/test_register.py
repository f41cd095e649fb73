"""Which keys are wanted, missing, distrusted."""

import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ca.hsm import TokenFault
from ca.hsm import register as room
from ca.hsm.register import Register
from ca.pki.keys import spki

KEY = ec.generate_private_key(ec.SECP256R1()).public_key()
NAME = spki(KEY)
WHY = "a signature did not verify."


@pytest.fixture
def register() -> Register:
    register = Register()
    register.want("issuing", KEY)
    return register


def test_what_is_wanted_is_usable(register: Register) -> None:
    assert register.usable(NAME).label == "issuing"
    assert register.faults() == ()


def test_what_is_unknown_is_neither_usable_nor_distrusted() -> None:
    register = Register()
    with pytest.raises(TokenFault, match="was not adopted"):
        register.usable(NAME)
    assert register.distrust(NAME, WHY) is None


def test_what_is_missing_is_not_usable(register: Register) -> None:
    register.missing = {NAME: "It is missing."}
    with pytest.raises(TokenFault, match="'issuing' is missing from the token"):
        register.usable(NAME)
    assert register.faults() == ("It is missing.",)


def test_what_is_distrusted_is_out_until_it_is_restored(register: Register) -> None:
    before = register.usable(NAME)
    doubt = register.distrust(NAME, WHY)
    assert doubt is not None
    assert register.faults() == (f"The key 'issuing' is out of service: {WHY}",)
    assert register.next_trial() == doubt.until > time.monotonic()
    with pytest.raises(TokenFault, match=r"out of service: a signature did not verify\. Nothing was signed"):
        register.usable(NAME)
    assert register.distrust(NAME, "again") is None
    after = register.restore(NAME)
    assert register.usable(NAME) is after
    # Whoever held a handle of the key from before holds none of this one.
    assert after is not before
    assert register.faults() == ()
    assert register.next_trial() == float("inf")


def test_each_time_it_stays_out_for_longer_until_that_is_forgiven(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(room, "monotonic", lambda: now)

    def out() -> float:
        doubt = register.distrust(NAME, WHY)
        assert doubt is not None
        register.restore(NAME)
        return doubt.until - now

    assert [out() for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    now += 3600.0
    assert out() == 1
