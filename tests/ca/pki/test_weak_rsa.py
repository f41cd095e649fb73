"""Case 31: RSA keys that can be factored. badkeys, which checks for the same by its own code, is the judge."""

from __future__ import annotations

from math import isqrt, prod

import badkeys
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from ca.pki import weak_rsa
from tests.ca.pki import weak
from tests.ca.pki.weak import E

CHECKS = ["fermat", "roca", "smallfactors"]
SOUND = {bits: rsa.generate_private_key(E, bits).public_key().public_numbers().n for bits in (2048, 3072, 4096)}


def modulus(key: rsa.RSAPrivateKey) -> int:
    return key.public_key().public_numbers().n


@pytest.mark.parametrize("bits", SOUND)
def test_a_sound_key_has_no_fault(bits: int) -> None:
    assert weak_rsa.fault(SOUND[bits], E) is None
    assert badkeys.checkrsa(SOUND[bits], E, checks=CHECKS) == {}


@pytest.mark.parametrize("bits", [512, 1024, 2040, 2047, 2049, 2056, 3071, 4095, 4097, 8192, 16384])
def test_every_other_size_is_a_fault(bits: int) -> None:
    assert "2048, 3072 or 4096" in str(weak_rsa.fault(1 << (bits - 1) | 1, E))


@pytest.mark.parametrize("exponent", [-1, 0, 1, 2, 3, 4, 17, 65535, 65536, 65539, 2**32 + 1, SOUND[2048]])
def test_every_other_exponent_is_a_fault(exponent: int) -> None:
    assert "exponent" in str(weak_rsa.fault(SOUND[2048], exponent))


@pytest.mark.parametrize("factor", weak.primes_to(751))
def test_every_factor_to_751_is_a_fault(factor: int) -> None:
    """BR 6.1.6. Two is the even modulus."""
    number = factor * (((1 << 2048) - 1) // factor)
    assert number.bit_length() == 2048
    assert "small factor" in str(weak_rsa.fault(number, E))


def test_the_judge_sees_the_small_factor_too() -> None:
    number = weak.small_factor()
    assert "small factor" in str(weak_rsa.fault(number, E))
    assert "smallfactors" in badkeys.checkrsa(number, E, checks=CHECKS)


@pytest.mark.parametrize("bits", [2048, 3072])
def test_primes_close_to_each_other_are_a_fault(bits: int) -> None:
    number = modulus(weak.close(bits))
    assert "close" in str(weak_rsa.fault(number, E))
    assert "fermat" in badkeys.checkrsa(number, E, checks=CHECKS)


def test_a_square_is_a_fault() -> None:
    assert "close" in str(weak_rsa.fault(weak.a_prime(1024) ** 2, E))


@given(rounds=st.integers(0, 99))
def test_whatever_a_hundred_rounds_find_is_found_and_they_are_no_more(rounds: int) -> None:
    """The factors are middle - b and middle + b: Fermat meets them after as many rounds as middle is above the root."""
    root = 1 << 1023
    assert weak_rsa._primes_are_close(_product(root, rounds))
    assert not weak_rsa._primes_are_close(_product(root, rounds + 100))


def _product(root: int, rounds: int) -> int:
    """A product of two numbers that is found in round `rounds`, counted from 0."""
    middle = root + rounds
    b = isqrt(middle**2 - (root - 1) ** 2 - 1)  # the largest whose product is still above the square below the root
    assert isqrt((middle - b) * (middle + b) - 1) + 1 == root
    return (middle - b) * (middle + b)


@pytest.mark.parametrize("bits", [2048, 3072])
def test_roca_is_recognised(bits: int) -> None:
    number = modulus(weak.roca(bits))
    assert "ROCA" in str(weak_rsa.fault(number, E))
    assert "roca" in badkeys.checkrsa(number, E, checks=CHECKS)


@given(number=st.integers(1 << 2047, (1 << 2048) - 1))
@settings(max_examples=300)
def test_of_any_number_the_judge_says_the_same(number: int) -> None:
    assert weak_rsa._is_of_roca(number) == ("roca" in badkeys.checkrsa(number, E, checks=["roca"]))


@given(power=st.integers(0, 1 << 200), times=st.integers(1, 1 << 64))
def test_whatever_is_a_power_of_the_generator_is_recognised(power: int, times: int) -> None:
    m = prod(weak.primes_to(701))
    number = times * m + pow(E, power, m)
    assert weak_rsa._is_of_roca(number)
    assert "roca" in badkeys.checkrsa(number, E, checks=["roca"])


def test_a_sound_key_is_hardly_ever_taken_for_one_of_roca() -> None:
    chance = prod(len(powers) / (prime - 1) for prime, powers in weak_rsa._ROCA_POWERS.items())
    assert chance < 1e-8
