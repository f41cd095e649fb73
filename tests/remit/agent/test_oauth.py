"""Tokens of a real authorization server, bound to the certificate or its key, at a resource server that checks both."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from remit import Agent, AsyncAgent, Failed
from remit.jose import Signer
from remit.oauth.auth import TokenAuth
from remit.tls import LiveContext
from tests.ca.proofs.issuer import Certified, certified
from tests.interop import openid
from tests.interop.openid import OpenId
from tests.remit.agent.resource import Resource, serving
from tests.world import World

METHODS = [
    pytest.param("tls_client_auth", False, id="tls"),
    pytest.param("private_key_jwt", False, id="jwt"),
    pytest.param("tls_client_auth", True, id="tls-dpop"),
    pytest.param("private_key_jwt", True, id="jwt-dpop"),
]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    return certified(tmp_path_factory.mktemp("oauth"), "localhost", "127.0.0.1")


class Site:
    """An agent, an authorization server that knows it by both methods, and a resource server."""

    def __init__(self, world: World, tls: Certified, ends: ExitStack, *, nonces: bool) -> None:
        token = world.token(world.new_agent())
        self.me = ends.enter_context(Agent.enroll(world.api_url, root=world.root_pem, token=token, verify=tls.root))
        held = self.me.credential
        self.key = Signer(held.key, held.chain)
        by_certificate = {
            "client_id": held.client_id,
            "token_endpoint_auth_method": "tls_client_auth",
            "tls_client_auth_san_uri": held.spiffe_id,
        }
        bound = {**by_certificate, "client_id": "bound", "tls_client_certificate_bound_access_tokens": True}
        by_key = {
            "client_id": "by-key",
            "token_endpoint_auth_method": "private_key_jwt",
            "token_endpoint_auth_signing_alg": "ES256",
            "jwks": {"keys": [{**self.key.jwk, "kid": self.key.thumbprint, "use": "sig"}]},
        }
        clients = [by_certificate, bound, by_key]
        self.server: OpenId = ends.enter_context(
            openid.running(tls, clients=clients, trust=world.root_pem, nonces=nonces)
        )
        nonce = "of the resource" if nonces else None
        self.resource: Resource = ends.enter_context(serving(tls, self.server.issuer, world.root_pem, nonce=nonce))

    def oauth(self, method: Any = "tls_client_auth", **options: Any) -> httpx2.Auth:
        client = {"client_id": "by-key"} if method == "private_key_jwt" else {}
        given = {"resource": self.resource.url, "scope": "read", **client, **options}
        return self.me.oauth(self.server.issuer, method=method, **given)


@pytest.fixture(params=[False, True], ids=["", "nonces"])
def site(world: World, tls: Certified, request: pytest.FixtureRequest) -> Iterator[Site]:
    with ExitStack() as ends:
        yield Site(world, tls, ends, nonces=request.param)


@pytest.mark.parametrize(("method", "dpop"), METHODS)
def test_a_token_is_had_by_each_method_and_kept(site: Site, method: Any, dpop: bool) -> None:
    with site.me.client(auth=site.oauth(method, dpop=dpop)) as http:
        for _ in range(3):
            assert http.get(f"{site.resource.url}/a?b=c").status_code == 200
        assert http.post(site.resource.url, json={"a": 1}).status_code == 200
    seen = site.resource.seen
    assert len(seen) == 4
    assert len({one["jti"] for one in seen}) == 1, "one token for all"
    assert seen[0]["scope"] == "read"
    assert seen[0]["client_id"] == ("by-key" if method == "private_key_jwt" else site.me.credential.client_id)
    assert seen[0].get("cnf", {}).keys() == ({"jkt"} if dpop else set())
    assert len(site.resource.refused) == (1 if dpop and site.resource.nonce else 0), "a nonce is learned once"


def test_a_token_that_is_bound_to_the_certificate_follows_it(site: Site) -> None:
    """RFC 8705 3: with the next certificate the old token is worth nothing; nobody sees that."""
    with site.me.client(auth=site.oauth(client_id="bound")) as http:
        for _ in range(3):
            assert http.get(site.resource.url).status_code == 200
            site.me.renew()
    bound = [one["cnf"]["x5t#S256"] for one in site.resource.seen]
    assert len(set(bound)) == 3
    assert site.resource.refused == []


def test_scenario_19_an_old_token_is_good_beside_the_old_certificate(site: Site, tls: Certified) -> None:
    """What was begun with both goes on with both; nothing of it is revoked by a renewal."""
    auth = site.oauth(client_id="bound")
    with site.me.client(auth=auth) as http:
        assert http.get(site.resource.url).status_code == 200
    assert isinstance(auth, TokenAuth)
    assert auth._token is not None
    old, headers = site.me.credential, {"Authorization": f"Bearer {auth._token.value}"}
    site.me.renew()
    before, after = LiveContext.verifying(tls.root), site.me.context
    before.present(old.key, old.chain)
    for context, status in ((before, 200), (after, 401)):
        with httpx2.Client(verify=context, trust_env=False) as http:
            assert http.get(site.resource.url, headers=headers).status_code == status


def test_a_token_that_is_not_taken_any_more_is_replaced_once(site: Site) -> None:
    with site.me.client(auth=site.oauth()) as http:
        assert http.get(site.resource.url).status_code == 200
        site.resource.issuer = "https://another.example"
        assert http.get(site.resource.url).status_code == 401
        assert len(site.resource.refused) == 2, "the kept one and a new one"
        assert http.get(site.resource.url).status_code == 401
        site.resource.issuer = site.server.issuer
        assert http.get(site.resource.url).status_code == 200
    assert len({one["jti"] for one in site.resource.seen}) == 2


def test_a_body_that_can_be_sent_once_is_sent_once(site: Site) -> None:
    with site.me.client(auth=site.oauth()) as http:
        assert http.get(site.resource.url).status_code == 200
        site.resource.issuer = "https://another.example"
        answer = http.post(site.resource.url, content=iter([b"once"]), headers={"Content-Length": "4"})
    assert answer.status_code == 401
    assert len(site.resource.refused) == 1


def test_what_is_refused_is_said_in_one_sentence(site: Site) -> None:
    auth = site.oauth(client_id="stranger")
    with site.me.client(auth=auth) as http, pytest.raises(Failed, match="gave no token: invalid_client"):
        http.get(site.resource.url)
    assert site.resource.seen == []


def test_many_tasks_at_once_ask_for_one_token(world: World, tls: Certified, site: Site, tmp_path: Path) -> None:
    async def main() -> None:
        name = site.me.credential.spiffe_id.rpartition("/")[2]
        async with AsyncAgent.enroll(
            world.api_url, root=world.root_pem, token=world.token(name), verify=tls.root, dir=tmp_path
        ) as me:
            issuer, resource = site.server.issuer, site.resource.url
            async with me.client(auth=me.oauth(issuer, resource=resource, scope="read")) as http:
                answers = await asyncio.gather(*(http.get(resource) for _ in range(20)))
                assert [answer.status_code for answer in answers] == [200] * 20
                await me.renew()
                assert (await http.get(resource)).status_code == 200

    asyncio.run(main())
    assert len({one["jti"] for one in site.resource.seen}) == 2
