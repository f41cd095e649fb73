"""What is sent for a token and what is made of the answers, without a network: metadata, redirects, odd servers."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from joserfc import jws, jwt
from joserfc.jwk import import_key

from remit.credential import Credential
from remit.failed import Failed
from remit.jose import Signer
from remit.keys import AgentKey
from remit.mcp import McpAuth, challenge
from remit.oauth import OAuth, proofs
from remit.oauth.asking import Client, Token, Wish
from tests.ca.proofs.pki import certificate

ISSUER, MCP = "https://as.example/tenant", "https://mcp.example/v1/mcp"
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
TOKEN = {"access_token": "t-1", "token_type": "Bearer", "expires_in": 300}
METADATA = {"issuer": ISSUER, "token_endpoint": "https://as.example/token"}
RESOURCE = {"resource": "https://mcp.example/v1", "authorization_servers": [ISSUER], "scopes_supported": ["a", "b"]}
REFUSAL = {"WWW-Authenticate": 'Bearer error="invalid_token", resource_metadata="https://mcp.example/about"'}

Site = dict[str, Callable[[httpx2.Request], httpx2.Response]]


def held(scope: str = "") -> Credential:
    """Of a certificate that lives long: the clock is the real one here."""
    key = AgentKey.generate()
    from cryptography.hazmat.primitives.serialization import Encoding

    chain = certificate("CN=agent", key=key.private).certificate.public_bytes(Encoding.PEM)
    answer = {
        "chain": chain.decode(),
        "serial": "01",
        "spiffe_id": "spiffe://a/b",
        "x5t#S256": "x",
        "scope": scope,
        "not_before": "2026-01-01T00:00:00Z",
        "not_after": "2099-01-01T00:00:00Z",
        "renew_after": "2098-01-01T00:00:00Z",
        "client_id": "https://ca.example/clients/a",
    }
    return Credential.of(key.pem, b"", answer, NOON)


class Agent:
    def __init__(self, scope: str = "") -> None:
        self.credential = held(scope)


def told(body: Any, status: int = 200, **headers: str) -> Callable[[httpx2.Request], httpx2.Response]:
    return lambda _request: httpx2.Response(status, json=body, headers=headers)


def ask(auth: httpx2.Auth, site: Site, url: str = "https://api.example/", **options: Any) -> httpx2.Response:
    """One request through servers that answer by URL, 404 elsewhere; `site['asked']` grows."""

    def handle(request: httpx2.Request) -> httpx2.Response:
        request.read()
        ASKED.append(request)
        found = site.get(str(request.url).partition("?")[0])
        return found(request) if found else httpx2.Response(404)

    ASKED.clear()
    with httpx2.Client(transport=httpx2.MockTransport(handle), auth=auth, **options) as http:
        return http.get(url)


ASKED: list[httpx2.Request] = []


def oauth(**wish: Any) -> OAuth:
    return OAuth(Agent(), ISSUER, Client(), Wish(**wish))


def standard(**changes: Any) -> Site:
    place = "https://as.example/.well-known/oauth-authorization-server/tenant"
    return {
        place: told(METADATA),
        "https://as.example/token": told(TOKEN),
        "https://api.example/": told({}),
        **changes,
    }


def form(request: httpx2.Request) -> list[tuple[str, str]]:
    from urllib.parse import parse_qsl

    return parse_qsl(request.content.decode())


def test_what_is_sent_for_a_token() -> None:
    auth = oauth(scope="read", resources=("https://a.example", "https://b.example"), parameters={"audience": "x"})
    assert ask(auth, standard()).status_code == 200
    assert ASKED[-1].headers["authorization"] == "Bearer t-1"
    assert sorted(form(ASKED[1])) == [
        ("audience", "x"),
        ("client_id", "https://ca.example/clients/a"),
        ("grant_type", "client_credentials"),
        ("resource", "https://a.example"),
        ("resource", "https://b.example"),
        ("scope", "read"),
    ]
    assert "timeout" in ASKED[1].extensions, "as patient as the request that it is for"


@pytest.mark.parametrize(
    "place",
    [
        "https://as.example/.well-known/oauth-authorization-server/tenant",
        "https://as.example/.well-known/openid-configuration/tenant",
        "https://as.example/tenant/.well-known/openid-configuration",
    ],
)
def test_metadata_is_found_wherever_it_may_be(place: str) -> None:
    site = {place: told(METADATA), "https://as.example/token": told(TOKEN), "https://api.example/": told({})}
    assert ask(oauth(), site).status_code == 200


def test_who_shows_a_certificate_goes_to_the_place_for_that() -> None:
    """RFC 8705 5."""
    place = "https://as.example/.well-known/oauth-authorization-server/tenant"
    aliased = {**METADATA, "mtls_endpoint_aliases": {"token_endpoint": "https://mtls.as.example/token"}}
    site = standard(**{place: told(aliased), "https://mtls.as.example/token": told(TOKEN)})
    assert ask(oauth(), site).status_code == 200
    assert str(ASKED[1].url) == "https://mtls.as.example/token"


HOSTILE = "a\nb\x1b[2J" + "c" * 999
PLACE = "https://as.example/.well-known/oauth-authorization-server/tenant"


@pytest.mark.parametrize(
    ("site", "sentence"),
    [
        ({PLACE: told({**METADATA, "issuer": "https://evil.example"})}, "metadata of another issuer"),
        ({PLACE: told({**METADATA, "issuer": ISSUER + "/"})}, "metadata of another issuer"),
        ({PLACE: told({**METADATA, "token_endpoint": "http://as.example/token"})}, "no https URL"),
        ({PLACE: told({"issuer": ISSUER})}, "no token endpoint"),
        ({PLACE: told([])}, "a JSON object"),
        ({PLACE: lambda _request: httpx2.Response(200, text="<html>")}, "answer with JSON"),
        ({PLACE: told({}, 302, Location="https://evil.example/")}, "leads elsewhere"),
        ({PLACE: told({}, 500)}, "publishes no metadata"),
        ({"https://as.example/token": told({**TOKEN, "token_type": "DPoP"})}, "of another type"),
        ({"https://as.example/token": told({"token_type": "Bearer"})}, "it answered 200"),
        ({"https://as.example/token": told("no")}, "it answered 200"),
        ({"https://as.example/token": told({"error": "invalid_scope"}, 400)}, "no token: invalid_scope"),
        (
            {"https://as.example/token": told({"error": "x", "error_description": "a\nb\x1b[2J" + "c" * 999}, 400)},
            "x: ab",
        ),
        ({"https://as.example/token": told({}, 307, Location="https://evil.example/")}, "no token"),
    ],
)
def test_what_is_not_as_it_should_be_gives_no_token(site: Site, sentence: str) -> None:
    elsewhere = {"https://evil.example/": told({**METADATA, **TOKEN})}
    with pytest.raises(Failed, match=sentence) as refused:
        ask(oauth(), standard(**site, **elsewhere), follow_redirects=True)
    assert len(str(refused.value)) < 320
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "issuer", ["http://as.example", "https://user@as.example", "https://", "as.example", "https://as.example/#a"]
)
def test_an_issuer_is_an_https_url(issuer: str) -> None:
    with pytest.raises(Failed, match="URL"):
        ask(OAuth(Agent(), issuer, Client(), Wish()), {})


@pytest.mark.parametrize(
    ("expires_in", "kept"),
    [(300, True), ("300", True), (None, True), (0, False), (-5, False), ("soon", True), (1e300, True)],
)
def test_a_token_is_kept_until_shortly_before_its_end(expires_in: Any, kept: bool) -> None:
    site = standard(**{"https://as.example/token": told({**TOKEN, "expires_in": expires_in})})
    auth = oauth()
    ask(auth, site)
    ask(auth, site)
    assert (len(ASKED) == 1) is kept


def test_a_token_serves_no_longer_than_its_certificate() -> None:
    one, another = held(), held()
    token = Token("t", one, NOON + timedelta(minutes=1), by_dpop=False)
    assert token.serves(one, NOON)
    assert not token.serves(one, NOON + timedelta(minutes=1))
    renewed = Credential(**{**{name: getattr(another, name) for name in another.__slots__}, "serial": "02"})
    assert not token.serves(renewed, NOON)
    assert "t-secret" not in repr(Token("t-secret", one, NOON, by_dpop=False))


def test_no_server_makes_a_request_go_on_for_ever() -> None:
    """Each answer brings another nonce, or wants another scope."""
    count = iter(range(100))

    def insatiable(_request: httpx2.Request) -> httpx2.Response:
        said = f'Bearer error="insufficient_scope", scope="s{next(count)}"'
        return httpx2.Response(403, headers={"WWW-Authenticate": said, "DPoP-Nonce": str(next(count))})

    for auth in (OAuth(Agent(), ISSUER, Client(by_dpop=True), Wish()), mcp()):
        dpop = told({**TOKEN, "token_type": "DPoP"})
        site = standard(**{"https://as.example/token": dpop, "https://api.example/": insatiable})
        site |= {MCP: insatiable, "https://mcp.example/.well-known/oauth-protected-resource/v1/mcp": told(RESOURCE)}
        if isinstance(auth, McpAuth):
            site["https://as.example/token"] = told(TOKEN)
        assert ask(auth, site, MCP if isinstance(auth, McpAuth) else "https://api.example/").status_code == 403
        assert len(ASKED) < 12


def test_what_the_key_signs_says_who_and_what() -> None:
    credential = held()
    signer = Signer(credential.key, credential.chain)
    assertion = proofs.client_assertion(signer, "me", ISSUER, NOON)
    key = import_key(dict(signer.jwk))
    decoded = jwt.decode(assertion, key, algorithms=["ES256"])
    assert {name: decoded.claims[name] for name in ("iss", "sub", "aud")} == {"iss": "me", "sub": "me", "aud": ISSUER}
    assert decoded.claims["exp"] - decoded.claims["iat"] == 60
    assert decoded.header["kid"] == signer.thumbprint == key.thumbprint()
    assert proofs.client_assertion(signer, "me", ISSUER, NOON, signer.enclosed()).count(".") == 2
    assert len(signer.enclosed()["x5c"]) == 1
    proof = proofs.dpop(signer, "POST", httpx2.URL("https://a.example?b#c"), NOON, nonce="n", token="t")
    assert jws.extract_compact(proof.encode()).headers()["jwk"] == signer.jwk
    claims = jwt.decode(proof, key, algorithms=["ES256"]).claims
    assert (claims["htu"], claims["htm"], claims["nonce"]) == ("https://a.example/", "POST", "n")
    assert json.dumps(signer.jwk).find('"d"') == -1


ABOUT = "https://mcp.example/about"


def mcp(scope: str = "", **options: Any) -> McpAuth:
    return McpAuth(Agent(scope), MCP, Client(), **options)


def taking(token: str) -> Callable[[httpx2.Request], httpx2.Response]:
    def handle(request: httpx2.Request) -> httpx2.Response:
        taken = request.headers.get("authorization") == f"Bearer {token}"
        return httpx2.Response(200 if taken else 401, headers={} if taken else REFUSAL)

    return handle


def protected(**changes: Any) -> Site:
    return standard(**{"https://mcp.example/about": told(RESOURCE), MCP: taking("t-1"), **changes})


def test_an_mcp_server_s_refusal_says_where_to_go() -> None:
    auth = mcp(scope="b c")
    assert ask(auth, protected(), MCP).status_code == 200
    assert dict(form(ASKED[3]))["resource"] == "https://mcp.example/v1"
    assert dict(form(ASKED[3]))["scope"] == "b", "of what it knows, that which the agent may have"
    assert ask(auth, protected(), MCP).status_code == 200
    assert len(ASKED) == 1


def test_an_mcp_server_that_says_nothing_is_asked_where_its_metadata_should_be() -> None:
    place = "https://mcp.example/.well-known/oauth-protected-resource"

    def silent(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200 if "authorization" in request.headers else 401)

    assert ask(mcp(), standard(**{MCP: silent, place: told({**RESOURCE, "resource": MCP})}), MCP).status_code == 200
    assert [request.url.path for request in ASKED[1:3]] == [
        "/.well-known/oauth-protected-resource/v1/mcp",
        "/.well-known/oauth-protected-resource",
    ]


def test_an_mcp_server_that_wants_more_scope_gets_another_token() -> None:
    def stepping(request: httpx2.Request) -> httpx2.Response:
        if request.headers.get("authorization") == "Bearer for b":
            return httpx2.Response(200)
        if "authorization" in request.headers:
            said = 'Bearer error="insufficient_scope", scope="b"'
            return httpx2.Response(403, headers={"WWW-Authenticate": said})
        return httpx2.Response(401, headers=REFUSAL)

    def giving(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={**TOKEN, "access_token": f"for {dict(form(request)).get('scope')}"})

    site = protected(**{MCP: stepping, "https://as.example/token": giving})
    assert ask(mcp(), site, MCP).status_code == 200


@pytest.mark.parametrize(
    ("site", "options", "sentence"),
    [
        (
            {"https://mcp.example/about": told({**RESOURCE, "resource": "https://evil.example/"})},
            {},
            "another resource",
        ),
        ({"https://mcp.example/about": told({**RESOURCE, "resource": MCP + "/x"})}, {}, "another resource"),
        (
            {"https://mcp.example/about": told({**RESOURCE, "resource": "https://mcp.example/v"})},
            {},
            "another resource",
        ),
        ({"https://mcp.example/about": told({**RESOURCE, "resource": 1})}, {}, "another resource"),
        ({"https://mcp.example/about": told({**RESOURCE, "authorization_servers": []})}, {}, "no authorization server"),
        ({"https://mcp.example/about": told({}, 404)}, {}, "does not say who"),
        ({}, {"issuer": "https://ours.example"}, "tokens of other servers"),
    ],
)
def test_an_mcp_server_that_leads_astray_gets_nothing(site: Site, options: Any, sentence: str) -> None:
    with pytest.raises(Failed, match=sentence):
        ask(mcp(**options), protected(**site), MCP)
    assert not any(request.method == "POST" for request in ASKED)


def test_a_token_for_one_mcp_server_is_sent_to_no_other() -> None:
    with pytest.raises(Failed, match="not sent to evil"):
        ask(mcp(), protected(), "https://evil.example/")
    assert ASKED == []


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Bearer realm="a, b", resource_metadata="https://m"', {"realm": "a, b", "resource_metadata": "https://m"}),
        ("DPoP algs=ES256, Bearer error=invalid_token", {"algs": "ES256", "error": "invalid_token"}),
        (r'Bearer a="x\"y", a="z"', {"a": 'x"y'}),
        ("Negotiate", {}),
        ("", {}),
    ],
)
def test_the_parameters_of_a_refusal(header: str, expected: dict[str, str]) -> None:
    assert challenge(httpx2.Response(401, headers={"WWW-Authenticate": header})) == expected
