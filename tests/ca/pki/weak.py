"""Weak keys, made as those who made them did: complete, so that their requests are really signed."""

from __future__ import annotations

import random
from functools import cache
from math import gcd, prod

from cryptography.hazmat.primitives.asymmetric import rsa

E = 65537
_RANDOM = random.Random(20171016)


def primes_to(last: int) -> list[int]:
    return [number for number in range(2, last + 1) if all(number % n for n in range(2, int(number**0.5) + 1))]


_SMALL = prod(primes_to(2000))


def is_prime(number: int) -> bool:
    """Fermat's test to base 2: enough for numbers drawn at random."""
    return gcd(number, _SMALL) == 1 and pow(2, number - 1, number) == 1


def next_prime(start: int) -> int:
    """The next one that can be a factor of a key with the exponent 65537."""
    candidate = start | 1
    while not (is_prime(candidate) and gcd(candidate - 1, E) == 1):
        candidate += 2
    return candidate


def a_prime(bits: int) -> int:
    """With its two highest bits set, so that two of them multiplied have twice the bits."""
    return rsa.generate_private_key(E, 2 * bits).private_numbers().p


def key_of(p: int, q: int, e: int = E) -> rsa.RSAPrivateKey:
    d = pow(e, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p, q, d, d % (p - 1), d % (q - 1), rsa.rsa_crt_iqmp(p, q), rsa.RSAPublicNumbers(e, p * q)
    )
    return numbers.private_key()


@cache
def close(bits: int = 2048) -> rsa.RSAPrivateKey:
    """The second prime is the next one after the first."""
    p = a_prime(bits // 2)
    return key_of(next_prime(p + 2), p)


@cache
def roca(bits: int = 2048) -> rsa.RSAPrivateKey:
    """CVE-2017-15361: primes k*M + (65537^a mod M), M the product of the first 126 primes."""
    m = prod(primes_to(701))

    def prime() -> int:
        lowest, span = (3 << (bits // 2 - 2)) // m, max(1, (1 << (bits // 2 - 2)) // m)
        while True:
            candidate = (lowest + 1 + _RANDOM.randrange(span)) * m + pow(E, _RANDOM.randrange(m), m)
            if candidate.bit_length() == bits // 2 and is_prime(candidate) and gcd(candidate - 1, E) == 1:
                return candidate

    return key_of(prime(), prime())


@cache
def small_factor() -> int:
    """A modulus of 2048 bits with the factor 751 and no other small one."""
    while True:
        modulus = 751 * rsa.generate_private_key(E, 2038).public_key().public_numbers().n
        if modulus.bit_length() == 2048:
            return modulus
