from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey, RSAKey

from ca.identifiers import Thumbprint
from ca.pki import keys
from ca.proofs import jwt
from ca.proofs.jwt import Unfit
from tests.ca.proofs.issuer import AUDIENCE, EC, NOW, RSA, claims, signed

ISSUER = "https://issuer.test"
GOOD = signed(claims(ISSUER))
CSR_KEY = ec.generate_private_key(ec.SECP256R1()).public_key()
LONGEST = timedelta(hours=1)


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def assembled(header: Any, payload: Any = None, signature: str = "A" * 86) -> str:
    return f"{part(header)}.{part(claims(ISSUER) if payload is None else payload)}.{signature}"


def test_a_jwt_is_read() -> None:
    token = jwt.read(GOOD)
    assert (token.issuer, token.algorithm, token.header["kid"]) == (ISSUER, "ES256", "ec-1")
    assert token.claims == claims(ISSUER)


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+jwt", "application/JWT"])
def test_a_kind_that_says_who_somebody_is(kind: str) -> None:
    assert jwt.read(signed(claims(ISSUER), header={"typ": kind})).issuer == ISSUER


HEADER = {"alg": "ES256"}
NO_JWT = {
    "nothing": "",
    "words": "remit_et_" + "A" * 43,
    "two parts": ".".join(GOOD.split(".")[:2]),
    "four parts": GOOD + ".AAAA",
    "a JWE": GOOD + ".AAAA.AAAA",
    "no signature": GOOD.rpartition(".")[0] + ".",
    "JSON serialization": json.dumps({"payload": "e30", "protected": "e30", "signature": "AAAA"}),
    "a space before": " " + GOOD,
    "a line break after": GOOD + "\n",
    "padding": GOOD.replace(".", "=.", 1),
    "standard base64": GOOD[:-2] + "+/",
    "a letter that is none": GOOD[:-1] + "\u0430",
    "another spelling of the header": assembled(HEADER).replace("Q.", "R.", 1),
    "too long": assembled(HEADER, {"a": "x" * jwt.MAX_LENGTH}),
    "a header that is no object": assembled([HEADER]),
    "a header that is no JSON": assembled(b"{"),
    "a header in UTF-16": assembled('{"alg":"ES256"}'.encode("utf-16")),
    "claims that are no object": assembled(HEADER, b"[]"),
    "claims that are null": assembled(HEADER, b"null"),
    "claims with NaN": assembled(HEADER, b'{"exp":NaN}'),
    "claims with Infinity": assembled(HEADER, b'{"exp":-Infinity}'),
    "a number too long": assembled(HEADER, b'{"exp":' + b"9" * 5000 + b"}"),
    "nested too deep": assembled(HEADER, b'{"a":' * 2000 + b"1" + b"}" * 2000),
    "an issuer twice": assembled(HEADER, b'{"iss":"https://issuer.test","iss":"https://evil.example"}'),
    "an algorithm twice": assembled(b'{"alg":"ES256","alg":"none"}'),
    "no algorithm": assembled({}),
    "an algorithm that is null": assembled({"alg": None}),
    "an algorithm that is a list": assembled({"alg": ["ES256"]}),
    "a logout token": assembled(HEADER | {"typ": "logout+jwt"}),
    "a security event token": assembled(HEADER | {"typ": "secevent+jwt"}),
    "a DPoP proof": assembled(HEADER | {"typ": "dpop+jwt"}),
    "a client's assertion": assembled(HEADER | {"typ": "client-authentication+jwt"}),
    "a type that is none": assembled(HEADER | {"typ": 7}),
    **{
        f"the header {name}": assembled(HEADER | {name: value})
        for name, value in {
            "jku": "https://evil.example/jwks",
            "x5u": "https://evil.example/chain.pem",
            "jwk": EC.as_dict(private=False),
            "crit": ["exp"],
            "b64": False,
            "zip": "DEF",
            "enc": "A256GCM",
        }.items()
    },
}


@pytest.mark.parametrize("text", NO_JWT.values(), ids=NO_JWT.keys())
def test_what_cannot_be_read_one_way_is_refused(text: str) -> None:
    with pytest.raises(Unfit):
        jwt.read(text)


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]{2,40}\.[A-Za-z0-9_-]{2,40}\.[A-Za-z0-9_-]{16,90}", fullmatch=True))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        token = jwt.read(text)
    except Unfit:
        return
    assert isinstance(token.header["alg"], str)


@given(st.integers(0, len(GOOD) - 1), st.sampled_from("AZaz09_-.=%\n"))
def test_no_letter_of_a_jwt_can_be_changed(place: int, letter: str) -> None:
    changed = GOOD[:place] + letter + GOOD[place + 1 :]
    if changed == GOOD:
        return
    with pytest.raises(Unfit):
        jwt.verify(jwt.read(changed), EC, ["ES256"])


ED = OKPKey.generate_key("Ed25519")
P384 = ECKey.generate_key("P-384")
P521 = ECKey.generate_key("P-521")
SIGNERS = {
    "RS256": RSA,
    "RS384": RSAKey.import_key(RSA.as_pem(private=True)),
    "RS512": RSAKey.import_key(RSA.as_pem(private=True)),
    "PS256": RSAKey.import_key(RSA.as_pem(private=True)),
    "PS384": RSAKey.import_key(RSA.as_pem(private=True)),
    "PS512": RSAKey.import_key(RSA.as_pem(private=True)),
    "ES256": EC,
    "ES384": P384,
    "ES512": P521,
    "Ed25519": ED,
}


@pytest.mark.parametrize(("alg", "key"), SIGNERS.items(), ids=SIGNERS.keys())
def test_every_algorithm_verifies_where_it_is_allowed(alg: str, key: jwt.SigningKey) -> None:
    token = jwt.read(signed(claims(ISSUER), key, alg))
    jwt.verify(token, key, [alg])
    for allowed in ([], ["ES256K"], [other for other in SIGNERS if other != alg]):
        with pytest.raises(Unfit):
            jwt.verify(token, key, allowed)
    with pytest.raises(Unfit):
        jwt.verify(token, ECKey.generate_key("P-256"), [alg])


def test_eddsa_is_ed25519() -> None:
    """Most still name it so; RFC 9864 narrows it."""
    signature = ed25519.Ed25519PrivateKey.from_private_bytes(ED.private_key.private_bytes_raw())  # type: ignore[union-attr]
    head = f"{part({'alg': 'EdDSA'})}.{part(claims(ISSUER))}"
    token = jwt.read(f"{head}.{urlsafe_b64encode(signature.sign(head.encode())).rstrip(b'=').decode()}")
    jwt.verify(token, ED, ["EdDSA"])
    with pytest.raises(Unfit):
        jwt.verify(token, OKPKey.generate_key("Ed448"), ["EdDSA"])


TIMES = [
    ({}, 0),
    ({"exp": NOW.timestamp() + 0.5}, 0),
    ({"exp": int(NOW.timestamp()) - 29}, 0),
    ({"exp": int(NOW.timestamp()) + 10}, 39.9),
    ({"iat": int(NOW.timestamp()) + 30}, 0),
    ({"nbf": int(NOW.timestamp()) + 30}, 0),
    ({"nbf": int(NOW.timestamp()) - 900}, 0),
    ({"iat": int(NOW.timestamp()) - 3629}, 0),
    ({"exp": 253402214399}, 0),
]


@pytest.mark.parametrize(("changed", "seconds"), TIMES)
def test_within_its_times(changed: dict[str, Any], seconds: float) -> None:
    token = jwt.read(signed(claims(ISSUER, **changed)))
    now = NOW + timedelta(seconds=seconds)
    expires = jwt.check_times(token, now, LONGEST)
    assert expires == datetime.fromtimestamp(token.claims["exp"], UTC) + jwt.LEEWAY
    assert expires > now


BEYOND = [
    ({"exp": None}, 0),
    ({"iat": None}, 0),
    ({"exp": int(NOW.timestamp()) - 30}, 0),
    ({"exp": int(NOW.timestamp()) + 10}, 40),
    ({"iat": int(NOW.timestamp()) + 31}, 0),
    ({"nbf": int(NOW.timestamp()) + 31}, 0),
    ({"iat": int(NOW.timestamp()) - 3630}, 0),
    ({"exp": 0}, 0),
    ({"exp": -1}, 0),
    ({"exp": 253402214400}, 0),
    ({"exp": 253402300799}, 0),
    ({"exp": 10**300}, 0),
    ({"exp": 1e300}, 0),
    ({"exp": True}, 0),
    ({"exp": "4102444800"}, 0),
    ({"exp": [4102444800]}, 0),
    ({"exp": {}}, 0),
    ({"iat": "0"}, 0),
    ({"nbf": "0"}, 0),
    ({"nbf": False}, 0),
]


@pytest.mark.parametrize(("changed", "seconds"), BEYOND)
def test_beyond_its_times(changed: dict[str, Any], seconds: float) -> None:
    token = jwt.read(signed(claims(ISSUER, **changed)))
    with pytest.raises(Unfit):
        jwt.check_times(token, NOW + timedelta(seconds=seconds), LONGEST)


@given(st.integers(-4000, 4000), st.integers(-4000, 4000), st.integers(-4000, 4000))
def test_times_against_their_definition(issued: int, ends: int, later: int) -> None:
    begun = int(NOW.timestamp())
    token = jwt.Jwt("", {"alg": "ES256"}, {"iat": begun + issued, "exp": begun + ends, "nbf": begun + issued})
    good = later < ends + 30 and issued <= later + 30 and later < issued + 3600 + 30
    try:
        jwt.check_times(token, NOW + timedelta(seconds=later), LONGEST)
    except Unfit:
        assert not good
    else:
        assert good


@pytest.mark.parametrize("aud", [AUDIENCE, [AUDIENCE], ["https://other.example", AUDIENCE]])
def test_for_us(aud: object) -> None:
    jwt.check_audience(jwt.read(signed(claims(ISSUER, aud=aud))), AUDIENCE)


NOT_FOR_US = [
    None,
    "",
    [],
    {},
    7,
    "https://other.example",
    AUDIENCE + "/",
    AUDIENCE.upper(),
    AUDIENCE + ".evil.example",
    f"https://other.example {AUDIENCE}",
    [[AUDIENCE]],
    [AUDIENCE, 7],
    [AUDIENCE, None],
    {AUDIENCE: AUDIENCE},
]


@pytest.mark.parametrize("aud", NOT_FOR_US, ids=str)
def test_not_for_us(aud: object) -> None:
    with pytest.raises(Unfit):
        jwt.check_audience(jwt.read(signed(claims(ISSUER, aud=aud))), AUDIENCE)


KINDS = {
    "P-256": CSR_KEY,
    "P-384": ec.generate_private_key(ec.SECP384R1()).public_key(),
    "Ed25519": ed25519.Ed25519PrivateKey.generate().public_key(),
    "RSA": rsa.generate_private_key(65537, 2048).public_key(),
}


@pytest.mark.parametrize("key", KINDS.values(), ids=KINDS.keys())
def test_a_jwt_may_be_bound_to_the_key_of_the_request(key: keys.PublicKey) -> None:
    thumbprint = jwt.jwk_thumbprint(key)
    token = jwt.read(signed(claims(ISSUER, cnf={"jkt": thumbprint})))
    assert jwt.bound_key(token, key) == keys.thumbprint(key)
    for other in KINDS.values():
        if other is not key:
            with pytest.raises(Unfit, match="another key"):
                jwt.bound_key(token, other)


def test_a_jwk_thumbprint_is_that_of_the_rfc() -> None:
    """RFC 7638 3.1, RFC 8037 A.3."""
    numbers = {
        "kty": "RSA",
        "e": "AQAB",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjB"
        "ZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8"
        "KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_"
        "xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    }
    key = RSAKey.import_key(numbers).public_key
    assert jwt.jwk_thumbprint(key) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    ed = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
    assert jwt.jwk_thumbprint(ed.public_key) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"  # type: ignore[arg-type]


def test_a_jwt_that_says_nothing_of_a_key_is_bound_to_none() -> None:
    assert jwt.bound_key(jwt.read(GOOD), CSR_KEY) is None


JKT = jwt.jwk_thumbprint(CSR_KEY)


@pytest.mark.parametrize(
    "cnf",
    [
        {},
        [],
        "x",
        JKT,
        {"x5t#S256": Thumbprint.of(b"x").base64url},
        {"jkt": JKT, "x5t#S256": Thumbprint.of(b"x").base64url},
        {"jkt": JKT + "="},
        {"jkt": JKT.lower()},
        {"jkt": [JKT]},
        {"jkt": None},
        {"jkt": ""},
        {"jwk": EC.as_dict(private=False)},
        {"kid": "ec-1"},
        {"jku": "https://evil.example"},
    ],
    ids=str,
)
def test_a_confirmation_that_cannot_be_checked_is_refused(cnf: object) -> None:
    with pytest.raises(Unfit):
        jwt.bound_key(jwt.read(signed(claims(ISSUER, cnf=cnf))), CSR_KEY)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP521R1()).public_key(),
        ec.generate_private_key(ec.SECP256K1()).public_key(),
        dsa.generate_private_key(2048).public_key(),
        None,
    ],
)
def test_a_key_of_another_kind_signs_nothing(key: object) -> None:
    with pytest.raises(Unfit):
        jwt.imported(key)


@pytest.mark.parametrize("value", ["", None, 7, ["a"], {"a": 1}, "a\n", "a\0", "\u202ea", "x" * 2049])
def test_a_name_is_a_string_that_says_something(value: object) -> None:
    token = jwt.read(signed({**claims(ISSUER), "sub": value, "jti": value}))
    with pytest.raises(Unfit):
        token.string("sub")
    with pytest.raises(Unfit):
        jwt.once(token, "name")


def test_what_opens_once_is_the_makers_own() -> None:
    token = jwt.read(signed(claims(ISSUER, jti="1")))
    assert jwt.once(token, "a") == jwt.once(jwt.read(signed(claims(ISSUER, jti="1", sub="other"))), "a")
    different = {jwt.once(token, "a"), jwt.once(token, "b"), jwt.once(token, "a", "b")}
    different.add(jwt.once(jwt.read(signed(claims(ISSUER, jti='1", "a'))), "a"))
    assert len(different) == 4
