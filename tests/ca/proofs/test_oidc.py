from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, Key

from ca.identifiers import Thumbprint
from ca.pki import keys
from ca.proofs import jwt
from ca.proofs.claims import Rule
from ca.proofs.jwt import Jwt, Unfit, Unsuited
from ca.proofs.providers import Attested, Away
from ca.refusals import Reason, Refused
from tests.ca.proofs.house import CSR_KEY, ISSUER, JKT, Published, attested, house, refused
from tests.ca.proofs.issuer import AUDIENCE, EC, NOW, OTHER_EC, RSA, claims, kubernetes, signed

BEGUN = int(NOW.timestamp())


def test_a_jwt_attests_its_issuers_subject() -> None:
    assert attested(signed(claims(ISSUER, jti="7", client_id="planner", azp="x", other="y"))) == Attested(
        provider="house",
        issuer=ISSUER,
        subject="planner",
        expires=datetime.fromtimestamp(BEGUN + 300, UTC) + jwt.LEEWAY,
        extra={"jti": "7", "client_id": "planner", "azp": "x"},
    )


def test_what_is_noted_of_it_is_bounded() -> None:
    extra = attested(signed(claims(ISSUER, jti="x" * 1000, azp=7, client_id=None))).extra
    assert extra == {"jti": "x" * 256}


# As their makers document them.
GITHUB = {
    "sub": "repo:octo-org/octo-repo:environment:prod",
    "ref": "refs/heads/main",
    "repository": "octo-org/octo-repo",
    "repository_owner": "octo-org",
    "job_workflow_ref": "octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main",
    "runner_environment": "github-hosted",
    "jti": "example-id",
    "nbf": BEGUN - 600,
}
GITLAB = {
    "sub": "project_path:my-group/my-project:ref_type:branch:ref:feature-branch-1",
    "namespace_id": "72",
    "project_id": "20",
    "user_login": "sample-user",
    "user_identities": [{"provider": "github", "extern_uid": "2435223452345"}],
    "ref_protected": "true",
    "jti": "235b3a54-b797-45c7-ae9a-f72d7bc6ef5b",
    "nbf": BEGUN - 5,
}
GOOGLE = {
    "sub": "113774264463038321964",
    "azp": "113774264463038321964",
    "email": "agent@project.iam.gserviceaccount.com",
    "email_verified": True,
    "google": {"compute_engine": {"project_id": "my-project", "instance_creation_timestamp": BEGUN}},
}
ACCESS = {"client_id": "planner", "jti": "SN4lWFyqsEJs", "scope": "read write", "aud": [AUDIENCE]}
KUBERNETES = kubernetes(ISSUER)
OLDER_KUBERNETES = {name: value for name, value in KUBERNETES.items() if name != "jti"}

SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[Rule, ...]]] = {
    "Kubernetes": (KUBERNETES, {}, (Rule("kubernetes.io.namespace", ("agents",)),)),
    "older Kubernetes": (OLDER_KUBERNETES, {}, (Rule("/kubernetes.io/serviceaccount/name", ("planner",)),)),
    "GitHub": (GITHUB, {"typ": "JWT", "x5t": "example-thumbprint"}, (Rule("repository", ("octo-org/octo-repo",)),)),
    "GitLab": (GITLAB, {"typ": "JWT"}, (Rule("ref_protected", ("true",)), Rule("project_id", ("20",)))),
    "Google": (GOOGLE, {"typ": "JWT"}, (Rule("google.compute_engine.project_id", ("my-project",)),)),
    "an access token": (ACCESS, {"typ": "at+jwt"}, (Rule("client_id", ("planner", "worker")),)),
}


@pytest.mark.parametrize(("shape", "header", "rules"), SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize(("key", "alg"), [(EC, "ES256"), (RSA, "RS256")], ids=["ES256", "RS256"])
def test_the_tokens_that_there_are(
    shape: dict[str, Any], header: dict[str, Any], rules: tuple[Rule, ...], key: Key, alg: str
) -> None:
    made = {**claims(ISSUER), **shape}
    token = signed(made, key, alg, header)
    assert attested(token, house(claims=rules)).subject == made["sub"]
    for rule in rules:
        assert refused(token, house(claims=(*rules, Rule(rule.place, ("other",)))))
    assert refused(token, house(audience="https://other.example"))


def test_a_one_time_token_says_by_what_it_is_remembered() -> None:
    one_time = house(one_time=True)
    first = attested(signed(claims(ISSUER, jti="1")), one_time).once
    assert first == attested(signed(claims(ISSUER, jti="1", sub="other")), one_time).once == _once("1")
    assert attested(signed(claims(ISSUER, jti="2")), one_time).once == _once("2") != first
    assert attested(signed(claims(ISSUER, jti="1"))).once is None
    for jti in (None, "", 7, ["1"], "x" * 2049):
        assert refused(signed(claims(ISSUER, jti=jti)), one_time)


def _once(jti: str) -> Thumbprint:
    return Thumbprint.of(f'["house", "{jti}"]'.encode())


def test_a_bound_token_is_for_the_key_of_the_request_alone() -> None:
    bound, unbound = signed(claims(ISSUER, cnf={"jkt": JKT})), signed(claims(ISSUER))
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    for provider in (house(), house(key_bound=True)):
        assert attested(bound, provider).key == keys.thumbprint(CSR_KEY)
        assert refused(bound, provider, key=other)
    assert attested(unbound).key is None
    assert refused(unbound, house(key_bound=True))


@pytest.mark.parametrize("longest", [timedelta(seconds=1), timedelta(minutes=10), timedelta(days=1)])
def test_a_token_may_be_so_old(longest: timedelta) -> None:
    made = signed(claims(ISSUER, exp=BEGUN + 10**6))
    provider = house(longest=longest)
    assert attested(made, provider, NOW + longest + jwt.LEEWAY - timedelta(seconds=1))
    assert refused(made, provider, NOW + longest + jwt.LEEWAY)


def test_a_new_key_is_found_once_it_is_named() -> None:
    published = Published(EC)
    time = [0.0]
    provider = house(published)
    provider._keys._clock = lambda: time[0]
    token = signed(claims(ISSUER), OTHER_EC)
    assert attested(signed(claims(ISSUER)), provider)
    published.keys = (EC, OTHER_EC)
    assert refused(token, provider), "not so soon after the last fetch"
    time[0] += 10
    assert attested(token, provider)
    assert published.asked == 2


def test_an_issuer_that_is_away_is_said_to_be() -> None:
    published = Published(EC)
    published.away = True
    with pytest.raises(Refused) as caught:
        attested(signed(claims(ISSUER)), house(published))
    assert caught.value.reason is Reason.UNAVAILABLE
    assert "issuer.test" not in caught.value.detail


def test_without_need_the_issuer_is_not_asked() -> None:
    published = Published(EC)
    for token in (
        signed(claims(ISSUER), ECKey.generate_key("P-384"), "ES384"),
        signed(claims(ISSUER), header={"kid": "x" * 513}),
        signed(claims("https://other.test")),
    ):
        assert refused(token, house(published))
    assert published.asked == 0


def test_why_is_said_of_real_tokens_alone() -> None:
    provider = house(claims=(Rule("a", ("x",)),))

    def why(token: str) -> Unfit:
        with pytest.raises(Unfit) as caught:
            asyncio.run(provider.attest(jwt.read(token), CSR_KEY, NOW))
        return caught.value

    real = why(signed(claims(ISSUER)))
    assert isinstance(real, Unsuited)
    assert str(real) == "the claim a is not as configured"
    assert not isinstance(why(signed(claims(ISSUER), OTHER_EC)), Unsuited)
    assert not isinstance(why(signed(claims(ISSUER))[:-4] + "AAAA"), Unsuited)


def test_the_doctor_is_told_how_many_keys_there_are() -> None:
    assert asyncio.run(house().check(NOW)) == f"{ISSUER} publishes 2 keys to verify with."
    assert asyncio.run(house(Published(EC)).check(NOW)) == f"{ISSUER} publishes 1 key to verify with."
    away = Published(EC)
    away.away = True
    with pytest.raises(Away):
        asyncio.run(house(away).check(NOW))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "cnf", "kubernetes.io", "events"])


@given(st.dictionaries(NAMES, JSON, max_size=4))
def test_whatever_an_issuer_says_is_attested_or_unfit(changed: dict[str, Any]) -> None:
    """Nothing that stands in a claim is a fault of ours, nor opens what the rules do not."""
    provider = house(one_time=True, claims=(Rule("kubernetes.io.namespace", ("agents",)),))
    made = {**kubernetes(ISSUER), **changed}
    try:
        found = provider.judge(Jwt("", {"alg": "ES256"}, made), CSR_KEY, NOW)
    except Unfit:
        return
    assert (found.issuer, found.subject) == (made["iss"], made["sub"]) == (ISSUER, made["sub"])
    assert AUDIENCE in made["aud"]
    assert made["kubernetes.io"]["namespace"] == "agents"
    assert found.once is not None
    assert found.expires > NOW
