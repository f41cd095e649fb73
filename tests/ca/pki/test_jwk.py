"""JWKs beside joserfc's, and RFC 7638's own example."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from joserfc.jwk import ECKey, OKPKey, RSAKey

from ca.pki import jwk

KEYS: dict[str, tuple[Any, Any]] = {
    "P-256": (ec.generate_private_key(ec.SECP256R1()).public_key(), ECKey),
    "P-384": (ec.generate_private_key(ec.SECP384R1()).public_key(), ECKey),
    "P-521": (ec.generate_private_key(ec.SECP521R1()).public_key(), ECKey),
    "Ed25519": (ed25519.Ed25519PrivateKey.generate().public_key(), OKPKey),
    "RSA": (rsa.generate_private_key(65537, 2048).public_key(), RSAKey),
}


@pytest.mark.parametrize(("key", "kind"), KEYS.values(), ids=KEYS.keys())
def test_it_is_what_another_library_makes(key: Any, kind: Any) -> None:
    other = kind.import_key(key)
    assert jwk.jwk(key) == {name: value for name, value in other.as_dict(private=False).items() if name != "kid"}
    assert jwk.thumbprint(key).base64url == other.thumbprint()


def test_a_coordinate_keeps_its_zeros() -> None:
    """RFC 7518 6.2.1.2: one in 256 begins with a zero octet."""
    for secret in range(1, 600):
        key = ec.derive_private_key(secret, ec.SECP256R1()).public_key()
        assert {len(jwk.jwk(key)[axis]) for axis in "xy"} == {43}


def test_the_example_of_rfc_7638() -> None:
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs"
        "tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajr"
        "n1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    number = int.from_bytes(base64.urlsafe_b64decode(n + "=="), "big")
    key = rsa.RSAPublicNumbers(65537, number).public_key()
    assert jwk.thumbprint(key).base64url == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


@pytest.mark.parametrize(
    "key",
    [dsa.generate_private_key(2048).public_key(), ec.generate_private_key(ec.SECP256K1()).public_key(), None],
    ids=["DSA", "secp256k1", "none"],
)
def test_what_has_no_jwk(key: Any) -> None:
    with pytest.raises(ValueError, match="no JWK"):
        jwk.jwk(key)
