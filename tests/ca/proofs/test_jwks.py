from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey, RSAKey

from ca.proofs import jwks
from ca.proofs.addresses import Inside
from ca.proofs.fetch import Fetcher, NotFetched
from ca.proofs.jwks import PAUSE_SECONDS, Keys, Metadata, PublishedKey, Source
from ca.proofs.providers import Away
from tests.ca.proofs.issuer import DISCOVERY, EC, OTHER_EC, RSA, Answer, Certified, Issuer

ISSUER = "https://issuer.test"


async def loopback(_host: str, _port: int) -> Sequence[str]:
    return ["127.0.0.1"]


def source(there: Issuer, tls: Certified, **changed: Any) -> Source:
    context = ssl.create_default_context(cafile=tls.root)
    fetcher = Fetcher(context, Inside.parse(["issuer.test"]), loopback)
    return Source(**({"issuer": there.url, "fetcher": fetcher} | changed))


@pytest.mark.parametrize(
    ("metadata", "issuer", "url"),
    [
        (Metadata.OPENID, "https://a.example", "https://a.example/.well-known/openid-configuration"),
        (Metadata.OPENID, "https://a.example/", "https://a.example/.well-known/openid-configuration"),
        (Metadata.OPENID, "https://a.example/realms/x", "https://a.example/realms/x/.well-known/openid-configuration"),
        (Metadata.OAUTH, "https://a.example", "https://a.example/.well-known/oauth-authorization-server"),
        (Metadata.OAUTH, "https://a.example/", "https://a.example/.well-known/oauth-authorization-server"),
        (Metadata.OAUTH, "https://a.example:1/x/y", "https://a.example:1/.well-known/oauth-authorization-server/x/y"),
    ],
)
def test_where_the_metadata_stands(metadata: Metadata, issuer: str, url: str) -> None:
    assert metadata.url(issuer) == url


def test_keys_are_found_by_the_metadata(issuer: Issuer, tls: Certified) -> None:
    found = asyncio.run(source(issuer, tls).published())
    assert [one.kid for one in found] == ["ec-1", "rsa-1"]
    assert issuer.paths() == [DISCOVERY, "/jwks"]


def test_keys_are_found_by_an_authorization_servers_metadata(issuer: Issuer, tls: Certified) -> None:
    issuer.publish(EC, metadata="/.well-known/oauth-authorization-server")
    assert len(asyncio.run(source(issuer, tls, metadata=Metadata.OAUTH).published())) == 1


def test_keys_are_found_where_the_configuration_says(issuer: Issuer, tls: Certified, tmp_path: Path) -> None:
    """As for Kubernetes' API server: its own address, its own root, and a token that changes in its file."""
    (tmp_path / "token").write_text("first\n")
    kubernetes = source(
        issuer,
        tls,
        issuer="https://kubernetes.default.svc.cluster.local",
        jwks_uri=f"{issuer.url}/openid/v1/jwks",
        bearer_file=tmp_path / "token",
    )
    issuer.answers["/openid/v1/jwks"] = Answer(
        issuer.answers["/jwks"].body, headers={"Content-Type": "application/jwk-set+json"}
    )
    assert len(asyncio.run(kubernetes.published())) == 2
    (tmp_path / "token").write_text("second")
    assert len(asyncio.run(kubernetes.published())) == 2
    assert [headers["authorization"] for _, headers in issuer.asked] == ["Bearer first", "Bearer second"]
    assert issuer.paths() == ["/openid/v1/jwks"] * 2


def test_a_bearer_token_does_not_go_where_a_document_points(issuer: Issuer, tls: Certified, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    asyncio.run(source(issuer, tls, bearer_file=tmp_path / "token").published())
    assert [("authorization" in headers) for _, headers in issuer.asked] == [True, False]


@pytest.mark.parametrize("content", [b"", b"a b", b"a\nb", b"\xff", "t\u00f6ken".encode(), None])
def test_a_file_without_a_bearer_token_is_said(
    issuer: Issuer, tls: Certified, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(NotFetched, match="token"):
        asyncio.run(source(issuer, tls, bearer_file=tmp_path / "token").published())
    assert issuer.connections == 0


@pytest.mark.parametrize(
    "named",
    ["", "https://issuer.test", "{url}/", "{url}.evil.example", "HTTPS://issuer.test", None, ["{url}"], "{url}#"],
)
def test_the_metadata_of_another_issuer_is_refused(issuer: Issuer, tls: Certified, named: Any) -> None:
    issuer.publish(EC, issuer=named.format(url=issuer.url) if isinstance(named, str) else named)
    with pytest.raises(NotFetched, match="another issuer"):
        asyncio.run(source(issuer, tls).published())
    assert issuer.paths() == [DISCOVERY]


@pytest.mark.parametrize(
    "uri",
    [
        None,
        7,
        "",
        "http://issuer.test/jwks",
        "https://ok@issuer.test/jwks",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:169.254.169.254]/",
        "https://127.0.0.1:1/",
        "https://localhost:1/",
        "https://2130706433/",
        "file:///etc/passwd",
        "https://other.test/jwks",
    ],
)
def test_the_jwks_uri_is_under_the_same_rules(issuer: Issuer, tls: Certified, uri: Any) -> None:
    issuer.publish(EC, jwks_uri=uri)
    with pytest.raises(NotFetched):
        asyncio.run(source(issuer, tls).published())
    assert issuer.paths() == [DISCOVERY]
    assert issuer.connections == 1


PUBLIC = EC.as_dict(private=False)
P521 = ECKey.generate_key("P-521").as_dict(private=False)
ED = OKPKey.generate_key("Ed25519").as_dict(private=False)
RSA_PUBLIC = RSA.as_dict(private=False)

READ: list[tuple[dict[str, Any], set[str]]] = [
    ({**PUBLIC, "alg": None}, {"ES256"}),
    (PUBLIC, {"ES256"}),
    ({name: value for name, value in PUBLIC.items() if name not in ("use", "alg", "kid")}, {"ES256"}),
    ({**PUBLIC, "key_ops": ["verify"]}, {"ES256"}),
    ({**PUBLIC, "x5c": ["not even base64"], "x5u": "https://evil.example", "x5t": 7}, {"ES256"}),
    (P521, {"ES512"}),
    (ED, {"EdDSA", "Ed25519"}),
    ({**RSA_PUBLIC, "alg": "PS256"}, {"PS256"}),
    (
        {name: value for name, value in RSA_PUBLIC.items() if name != "alg"},
        {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"},
    ),
]


@pytest.mark.parametrize(("jwk", "algorithms"), READ)
def test_a_key_verifies_what_fits_it(jwk: dict[str, Any], algorithms: set[str]) -> None:
    [key] = jwks.read_keys({"keys": [jwk]})
    assert key.algorithms == algorithms


PASSED_OVER = {
    "another use": {**PUBLIC, "use": "enc"},
    "another operation": {**PUBLIC, "key_ops": ["sign"]},
    "operations that are none": {**PUBLIC, "key_ops": "verify"},
    "another algorithm": {**PUBLIC, "alg": "RS256"},
    "no algorithm": {**PUBLIC, "alg": "none"},
    "an algorithm that is a list": {**PUBLIC, "alg": ["ES256"]},
    "a symmetric key": {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": "ec-1"},
    "a symmetric key of our kind": {**PUBLIC, "kty": "oct", "k": "c2VjcmV0"},
    "its private half": EC.as_dict(private=True),
    "the private half of RSA": RSA.as_dict(private=True),
    "no kind": {name: value for name, value in PUBLIC.items() if name != "kty"},
    "a kind that is a list": {**PUBLIC, "kty": ["EC"]},
    "a kind of tomorrow": {**PUBLIC, "kty": "AKP"},
    "another curve": ECKey.generate_key("secp256k1").as_dict(private=False),
    "a curve for agreement": OKPKey.generate_key("X25519").as_dict(private=False),
    "Ed448": OKPKey.generate_key("Ed448").as_dict(private=False),
    "a curve that is a number": {**PUBLIC, "crv": 256},
    "a point off its curve": {**PUBLIC, "y": PUBLIC["x"]},
    "half a point": {name: value for name, value in PUBLIC.items() if name != "y"},
    "a point of numbers": {**PUBLIC, "x": 1},
    "a short point": {**PUBLIC, "x": "AA"},
    "a point that is not base64url": {**PUBLIC, "x": "%%"},
    "RSA of 1024 bits": {**RSA_PUBLIC, "n": "1" * 171},
    "RSA of 2047 bits": {**RSA_PUBLIC, "n": "f" + RSA_PUBLIC["n"][1:]},
    "RSA of 16384 bits": {**RSA_PUBLIC, "n": "1" * 2731},
    "RSA with the exponent 1": {**RSA_PUBLIC, "e": "AQ"},
    "RSA with a giant exponent": {**RSA_PUBLIC, "e": RSA_PUBLIC["n"]},
    "a kid that is a number": {**PUBLIC, "kid": 1},
    "a kid without end": {**PUBLIC, "kid": "x" * 513},
    "no object": "ec-1",
    "nothing": None,
}


@pytest.mark.parametrize("jwk", PASSED_OVER.values(), ids=PASSED_OVER.keys())
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_a_key_that_does_not_do_is_passed_over(jwk: object) -> None:
    [key] = jwks.read_keys({"keys": [jwk, PUBLIC, jwk]})
    assert key.kid == "ec-1"


@pytest.mark.parametrize(
    "document", [{}, {"keys": {}}, {"keys": None}, {"keys": "x"}, {"keys": [{}] * 65}, {"Keys": []}], ids=str
)
def test_what_is_no_key_set_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(NotFetched, match="JWK Set"):
        list(jwks.read_keys(document))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.sampled_from(sorted({*PUBLIC, *RSA_PUBLIC, "d", "key_ops", "x5c"})),
    JSON,
    st.sampled_from([PUBLIC, RSA_PUBLIC, ED]),
)
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_no_member_makes_a_key_set_a_fault(name: str, value: Any, jwk: dict[str, Any]) -> None:
    assert len(list(jwks.read_keys({"keys": [{**jwk, name: value}]}))) <= 1


class Remote:
    """An issuer that a test switches off, and counts."""

    def __init__(self, *keys: ECKey | RSAKey) -> None:
        self.keys: tuple[ECKey | RSAKey, ...] = keys
        self.asked = 0
        self.away = False
        self.began = asyncio.Event()
        self.gate: asyncio.Event | None = None

    async def __call__(self) -> tuple[PublishedKey, ...]:
        self.asked += 1
        self.began.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.away:
            raise NotFetched("it is away")
        return tuple(jwks.read_keys({"keys": [key.as_dict(private=False) for key in self.keys]}))


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def keys(remote: Remote, time: Time) -> Keys:
    return Keys(remote, time, ISSUER, timedelta(minutes=5), timedelta(hours=1))


async def kids(held: Keys, kid: str | None = "ec-1", algorithm: str = "ES256") -> int:
    return len(await held.fitting(kid, algorithm))


def test_keys_are_fetched_once_and_by_all_who_wait(time: Time) -> None:
    async def scenario() -> None:
        remote = Remote(EC)
        remote.gate = asyncio.Event()
        held = keys(remote, time)
        waiting = [asyncio.create_task(kids(held)) for _ in range(100)]
        await remote.began.wait()
        await asyncio.sleep(0)
        waiting[0].cancel()  # who leaves takes nothing away from the others
        remote.gate.set()
        assert await asyncio.gather(*waiting[1:]) == [1] * 99
        assert remote.asked == 1

    asyncio.run(scenario())


def test_a_kid_that_is_not_known_is_asked_for_once_in_a_while(time: Time) -> None:
    async def scenario() -> None:
        remote = Remote(EC)
        held = keys(remote, time)
        assert await kids(held) == 1
        for number in range(50):
            assert await kids(held, f"made-up-{number}") == 0
        assert remote.asked == 1, "so soon after the first nothing is asked"
        time.now += PAUSE_SECONDS
        remote.keys = (EC, OTHER_EC)
        assert await kids(held, "ec-2") == 1, "a new key is found"
        for number in range(50):
            assert await kids(held, f"made-up-{number}") == 0
        assert remote.asked == 2

    asyncio.run(scenario())


def test_a_kid_that_is_known_is_not_asked_for_again_for_another_algorithm(time: Time) -> None:
    async def scenario() -> None:
        remote = Remote(EC)
        held = keys(remote, time)
        assert await kids(held) == 1
        time.now += PAUSE_SECONDS
        assert await kids(held, "ec-1", "RS256") == 0
        assert remote.asked == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("published", "algorithm", "found"),
    [
        ((EC,), "ES256", 1),
        ((EC, RSA), "ES256", 1),
        ((EC, RSA), "RS256", 1),
        ((EC, OTHER_EC), "ES256", 0),
        ((), "ES256", 0),
    ],
)
def test_without_a_kid_there_must_be_no_choice(
    time: Time, published: tuple[ECKey | RSAKey, ...], algorithm: str, found: int
) -> None:
    assert asyncio.run(kids(keys(Remote(*published), time), None, algorithm)) == found


def test_a_key_that_is_withdrawn_is_believed_until_the_next_refresh_alone(time: Time) -> None:
    async def scenario() -> None:
        remote = Remote(EC, OTHER_EC)
        held = keys(remote, time)
        assert await kids(held, "ec-2") == 1
        remote.keys = (EC,)
        time.now += 300
        await held.keep()
        assert await kids(held, "ec-2") == 0
        remote.keys = ()
        time.now += 300
        await held.keep()
        assert await kids(held) == 0, "an empty set is an answer"

    asyncio.run(scenario())


def test_while_the_issuer_is_away_its_keys_serve_for_a_bounded_time(time: Time) -> None:
    async def scenario() -> None:
        remote = Remote(EC)
        held = keys(remote, time)
        assert await kids(held) == 1
        remote.away = True
        time.now += 3599
        await held.keep()
        assert await kids(held) == 1
        time.now += 1
        with pytest.raises(Away, match="it is away"):
            await kids(held)
        remote.away = False
        time.now += PAUSE_SECONDS
        assert await kids(held) == 1, "it is back"

    asyncio.run(scenario())


def test_an_issuer_that_was_never_there_is_asked_once_in_a_while(time: Time) -> None:
    async def scenario() -> None:
        remote = Remote(EC)
        remote.away = True
        held = keys(remote, time)
        for _ in range(10):
            with pytest.raises(Away):
                await kids(held)
        assert remote.asked == 1
        time.now += PAUSE_SECONDS
        with pytest.raises(Away):
            await kids(held)
        assert remote.asked == 2

    asyncio.run(scenario())


def test_the_background_asks_before_the_keys_are_stale(time: Time) -> None:
    async def scenario() -> None:
        remote = Remote(EC)
        held = keys(remote, time)
        assert await held.keep() == 300
        time.now += 299
        assert await held.keep() == 1
        assert remote.asked == 1
        time.now += 1
        remote.away = True
        assert await held.keep() == 3 * PAUSE_SECONDS, "after a failure it asks again soon"
        assert remote.asked == 2
        time.now += 3 * PAUSE_SECONDS
        remote.away = False
        assert await held.keep() == 300
        assert remote.asked == 3

    asyncio.run(scenario())


def test_a_fault_does_not_end_the_background(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        asked = asyncio.Event()
        slept: list[float] = []
        rest = asyncio.sleep

        async def faulty() -> tuple[PublishedKey, ...]:
            if len(slept) == 2:
                asked.set()
            raise RuntimeError("a fault of ours")

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            time.now += seconds
            await rest(0)

        monkeypatch.setattr(asyncio, "sleep", sleep)
        running = asyncio.create_task(Keys(faulty, time, ISSUER).run())
        await asked.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())


def test_the_doctor_asks_now(time: Time) -> None:
    async def scenario() -> None:
        remote = Remote(EC, RSA)
        assert await keys(remote, time).check() == 2
        remote.away = True
        with pytest.raises(Away, match="it is away"):
            await keys(remote, time).check()

    asyncio.run(scenario())
