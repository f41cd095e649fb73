"""Case 34: a JWT that proves nothing opens nothing, whatever it says of itself, and every answer is the same."""

from __future__ import annotations

import asyncio
import json
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, hmac
from joserfc.jwk import ECKey, Key, RSAKey

from ca.proofs.providers import Attested, Providers
from ca.refusals import Refused
from ca.store import schema, spent_proofs
from ca.store.transaction import Database
from tests.ca.proofs.house import CSR_KEY, ISSUER, JKT, Published, attested, house, refused
from tests.ca.proofs.issuer import EC, NOW, OTHER_EC, RSA, claims, signed

BEGUN = int(NOW.timestamp())
GOOD = signed(claims(ISSUER))
HIS_EC = ECKey.generate_key("P-256", {"kid": "ec-1"})
HIS_RSA = RSAKey.generate_key(2048, {"kid": "rsa-1"})


def part(value: dict[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def unsigned(alg: str, signature: str = "") -> str:
    return f"{part({'alg': alg})}.{part(claims(ISSUER))}.{signature}"


def mac(key: Key, form: str) -> str:
    """HS256 with our issuer's public key as the secret (CVE-2015-9235, CVE-2026-48526)."""
    jwk = key.as_dict(private=False)
    secret = {
        "PEM": key.as_pem(private=False),
        "DER": key.as_der(private=False),
        "JWK": json.dumps(jwk).encode(),
        "terse JWK": json.dumps(jwk, separators=(",", ":")).encode(),
    }[form]
    text = f"{part({'alg': 'HS256', 'kid': key.kid})}.{part(claims(ISSUER))}"
    made = hmac.HMAC(secret, hashes.SHA256())
    made.update(text.encode())
    return f"{text}.{urlsafe_b64encode(made.finalize()).rstrip(b'=').decode()}"


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", " none"])
@pytest.mark.parametrize("signature", ["", "A" * 86, GOOD.rpartition(".")[2]])
def test_case_34_alg_none(alg: str, signature: str) -> None:
    assert refused(unsigned(alg, signature))


@pytest.mark.parametrize("key", [EC, RSA], ids=["EC", "RSA"])
@pytest.mark.parametrize("form", ["PEM", "DER", "JWK", "terse JWK"])
@pytest.mark.parametrize("algorithms", [("RS256", "ES256"), ("HS256",), ("HS256", "RS256", "ES256")])
def test_case_34_hs256_with_a_public_key(key: Key, form: str, algorithms: tuple[str, ...]) -> None:
    """Not even where the configuration were to allow it: no key of an issuer is symmetric."""
    assert refused(mac(key, form), house(algorithms=algorithms))


@pytest.mark.parametrize(
    ("alg", "key", "kid"),
    [
        ("RS256", HIS_RSA, "rsa-1"),
        ("RS256", HIS_RSA, "ec-1"),
        ("ES256", HIS_EC, "ec-1"),
        ("ES256", HIS_EC, "rsa-1"),
        ("ES256", EC, "rsa-1"),
        ("RS256", RSA, "ec-1"),
        ("PS256", RSA, "rsa-1"),
        ("RS512", RSA, "rsa-1"),
        ("ES256", HIS_EC, None),
    ],
)
def test_case_34_rs_and_es_mixed_and_keys_of_others(alg: str, key: Key, kid: str | None) -> None:
    header = {} if kid is None else {"kid": kid}
    for algorithms in (("RS256", "ES256"), ("RS256", "RS512", "PS256", "ES256")):
        assert refused(signed(claims(ISSUER), key, alg, header, kid=False), house(algorithms=algorithms))


def test_case_34_a_header_that_says_another_algorithm_than_was_signed_with() -> None:
    _, payload, signature = GOOD.split(".")
    for alg in ("RS256", "ES384", "EdDSA", "none", "HS256"):
        assert refused(f"{part({'alg': alg, 'kid': 'ec-1'})}.{payload}.{signature}")


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "/dev/null",
        "file:///etc/passwd",
        "ec-1' OR '1'='1",
        "x' UNION SELECT 'secret'--",
        "ec-1\0",
        "EC-1",
        "ec-1 ",
        "ec-2",
        "x" * 513,
        "",
        7,
        None,
        True,
        ["ec-1"],
        {"kid": "ec-1"},
    ],
    ids=str,
)
@pytest.mark.parametrize("key", [EC, HIS_EC], ids=["the issuer's key", "another key"])
def test_case_34_a_kid_that_is_a_path_or_sql_or_no_string(kid: object, key: Key) -> None:
    """A kid is compared with those published, and nothing else is done with it."""
    assert refused(signed(claims(ISSUER), key, header={"kid": kid}))


@pytest.mark.parametrize(
    "header",
    [
        {"jku": "https://issuer.test/jwks"},
        {"jku": "https://evil.example/jwks"},
        {"x5u": "https://evil.example/chain.pem"},
        {"jwk": HIS_EC.as_dict(private=False)},
        {"jwk": EC.as_dict(private=False)},
        {"crit": ["exp"]},
        {"crit": []},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"x5c": ["MIIB"]},
    ],
    ids=str,
)
@pytest.mark.parametrize("key", [EC, HIS_EC], ids=["the issuer's key", "another key"])
def test_case_34_a_key_or_a_rule_from_the_header(header: dict[str, Any], key: Key) -> None:
    """Refused even where the signature is the issuer's, and nobody is asked."""
    published = Published(EC)
    assert refused(signed(claims(ISSUER), key, header=header), house(published))
    assert published.asked == 0


@pytest.mark.parametrize("name", ["iss", "sub", "aud", "exp", "iat"])
@pytest.mark.parametrize("value", [None, "", 0, False, [], {}], ids=repr)
def test_case_34_a_claim_that_is_missing_or_empty(name: str, value: object) -> None:
    if (name, value) == ("iat", 0):
        return  # 1970 is a time; too old, see below
    assert refused(signed(claims(ISSUER, **{name: value})))
    assert refused(signed(claims(ISSUER, iat=0)))


@pytest.mark.parametrize("cnf", [None, {}, {"jkt": ""}, {"jkt": JKT[:-1] + "_"}, {"x5t#S256": JKT}, "x", []], ids=str)
def test_case_34_a_confirmation_that_is_missing_or_another(cnf: object) -> None:
    assert attested(signed(claims(ISSUER, cnf={"jkt": JKT})), house(key_bound=True)).key is not None
    assert refused(signed(claims(ISSUER, cnf=cnf)), house(key_bound=True))


def test_case_34_the_kid_of_another_issuer() -> None:
    """Two issuers are configured: neither's key speaks for the other, under whatever kid it is published."""
    hers = ECKey.generate_key("P-256", {"kid": "ec-1"})
    ours, other = house(Published(EC)), house(Published(hers, OTHER_EC), name="other", issuer="https://other.test")
    both = Providers([ours, other])

    def by_both(issuer: str, key: Key) -> Attested:
        return asyncio.run(both.attest(signed(claims(issuer), key), CSR_KEY, NOW))

    for issuer, key in ((ISSUER, hers), (ISSUER, OTHER_EC), ("https://other.test", EC)):
        with pytest.raises(Refused):
            by_both(issuer, key)
    assert (by_both(ISSUER, EC).provider, by_both("https://other.test", hers).provider) == ("house", "other")


@pytest.mark.parametrize(
    ("ends", "opens"),
    [(300, True), (1, True), (0, True), (-29, True), (-29.5, True), (-30, False), (-31, False), (-3600, False)],
)
def test_case_34_exp_at_the_skew(ends: float, opens: bool) -> None:
    token = signed(claims(ISSUER, exp=BEGUN + ends))
    assert bool(attested(token)) if opens else refused(token)


@pytest.mark.parametrize(("begins", "opens"), [(-60, True), (29, True), (30, True), (31, False), (3600, False)])
@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_case_34_nbf_and_iat_at_the_skew(name: str, begins: int, opens: bool) -> None:
    token = signed(claims(ISSUER, **{name: BEGUN + begins}))
    assert bool(attested(token)) if opens else refused(token)


def test_case_34_a_replayed_jti(tmp_path: Path) -> None:
    """What is remembered is the same for any two JWTs of one jti, and remembered until neither would open."""
    one_time = house(one_time=True)
    first = attested(signed(claims(ISSUER, jti="1")), one_time)
    again = attested(signed(claims(ISSUER, jti="1", exp=BEGUN + 200)), one_time)
    assert first.once is not None
    assert first.once == again.once
    assert refused(signed(claims(ISSUER, jti="1")), one_time, first.expires)
    url = f"sqlite:///{tmp_path / 'remit.db'}"
    schema.upgrade(url)
    database = Database(url)
    try:
        database.write(lambda connection: spent_proofs.spend(connection, {first.once: first.expires})).result()
        with database.read() as connection:
            assert spent_proofs.spent(connection, {again.once}) == {first.once}
    finally:
        database.close()
