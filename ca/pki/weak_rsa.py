"""RSA keys that somebody could factor: told by the public half alone, each check bounded.

The checks are those of CA/Browser Forum BR 6.1.1.3 and 6.1.6: size, exponent, small factors, primes
close to each other (Fermat), and the fingerprint of ROCA (CVE-2017-15361).
"""

from __future__ import annotations

from math import gcd, isqrt, prod

_BITS = (2048, 3072, 4096)
_EXPONENT = 65537
_FERMAT_ROUNDS = 100
_ROCA_GENERATOR = 65537


def _odd_primes_to(last: int) -> list[int]:
    primes: list[int] = []
    for number in range(3, last + 1, 2):
        if all(number % prime for prime in primes):
            primes.append(number)
    return primes


# BR 6.1.6: no factor below 752; two is among them.
_SMALL_PRIMES_PRODUCT = 2 * prod(_odd_primes_to(751))

# The library behind ROCA made every prime a power of 65537 modulo each of these, so the modulus is one too. Of sound
# keys fewer than one in a hundred million are for all of them.
_ROCA_POWERS = {
    prime: frozenset(pow(_ROCA_GENERATOR, power, prime) for power in range(prime)) for prime in _odd_primes_to(167)
}


def fault(modulus: int, exponent: int) -> str | None:
    """What is wrong with this key, as a sentence for whoever made it, or None."""
    if modulus.bit_length() not in _BITS:
        return "An RSA key must have 2048, 3072 or 4096 bits."
    if exponent != _EXPONENT:
        return "The RSA public exponent must be 65537."
    if gcd(modulus, _SMALL_PRIMES_PRODUCT) != 1:
        return "The RSA modulus has a small factor; make a new key."
    if _primes_are_close(modulus):
        return "The RSA primes are too close to each other; make a new key."
    if _is_of_roca(modulus):
        return "The RSA key was made by a library whose keys can be factored (ROCA); make it with another one."
    return None


def _primes_are_close(modulus: int) -> bool:
    """Fermat's factorisation, 100 rounds: finds primes that share about half of their leading bits."""
    middle = isqrt(modulus - 1) + 1
    rest = middle * middle - modulus
    for _ in range(_FERMAT_ROUNDS):
        if isqrt(rest) ** 2 == rest:
            return True
        rest += 2 * middle + 1
        middle += 1
    return False


def _is_of_roca(modulus: int) -> bool:
    return all(modulus % prime in powers for prime, powers in _ROCA_POWERS.items())
