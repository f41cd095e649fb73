from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from ca.pki.keys import PublicKey
from ca.proofs import token
from ca.proofs.jwt import Jwt, Unfit, Unsuited
from ca.proofs.providers import Attested, Away, Builtin, Providers
from ca.refusals import Reason, Refused
from tests.ca.proofs.house import CSR_KEY, ISSUER
from tests.ca.proofs.issuer import NOW, claims, signed


class Watched:
    """A provider that says what a test wants, and remembers what it was asked."""

    def __init__(self, name: str, issuer: str, by_certificate: bool = False, fault: Exception | None = None) -> None:
        self.name, self.issuer, self.by_certificate, self._fault = name, issuer, by_certificate, fault
        self.asked: list[Jwt] = []
        self.running = False

    async def attest(self, token: Jwt, _key: PublicKey, now: datetime) -> Attested:
        self.asked.append(token)
        if self._fault is not None:
            raise self._fault
        return Attested(self.name, self.issuer, "planner", now)

    async def run(self) -> None:
        self.running = True
        await asyncio.Event().wait()

    async def check(self, _now: datetime, /) -> str:
        return self.name


def refusal(providers: Providers, text: str) -> Refused:
    """Of both questions the same."""
    with pytest.raises(Refused) as caught:
        asyncio.run(providers.attest(text, CSR_KEY, NOW))
    return caught.value


HOUSE_JWT = signed(claims(ISSUER))
X5C_JWT = signed(claims("x5c:fleet"), header={"x5c": ["MIIB"]})


def test_a_jwt_goes_to_the_provider_that_it_names() -> None:
    house, other, fleet = (
        Watched("house", ISSUER),
        Watched("other", "https://other.test"),
        Watched("fleet", "x5c:fleet", by_certificate=True),
    )
    providers = Providers([house, other, fleet])
    for text, provider in ((HOUSE_JWT, house), (X5C_JWT, fleet)):
        assert providers.recognise(text) is provider
        assert asyncio.run(providers.attest(text, CSR_KEY, NOW)).provider == provider.name
    assert (len(house.asked), len(other.asked), len(fleet.asked)) == (1, 0, 1)


NOBODYS: Sequence[str] = [
    "",
    "remit_et_" + "A" * 43,
    "a.b.c",
    signed(claims("https://unknown.test")),
    signed(claims(ISSUER + "/")),
    signed(claims(ISSUER.upper())),
    signed(claims("https://ok@issuer.test")),
    signed(claims("https://issuer.test.evil.example")),
    signed(claims(ISSUER + "\n")),
    signed({**claims(ISSUER), "iss": [ISSUER]}),
    signed({**claims(ISSUER), "iss": None}),
    signed(claims(ISSUER, iss=None)),
    # The form must be the provider's too.
    signed(claims(ISSUER), header={"x5c": ["MIIB"]}),
    signed(claims("x5c:fleet")),
    signed(claims("x5c:other"), header={"x5c": ["MIIB"]}),
    signed(claims("house")),
]


@pytest.mark.parametrize("text", NOBODYS, ids=range(len(NOBODYS)))
def test_what_no_provider_is_named_for_is_refused_before_anything_else(text: str) -> None:
    house, fleet = Watched("house", ISSUER), Watched("fleet", "x5c:fleet", by_certificate=True)
    providers = Providers([house, fleet])
    with pytest.raises(Refused) as caught:
        providers.recognise(text)
    assert caught.value.reason is Reason.TOKEN_INVALID
    assert refusal(providers, text).detail == caught.value.detail == token.refused().detail
    assert not house.asked
    assert not fleet.asked


def test_without_configuration_no_jwt_opens() -> None:
    assert refusal(Providers(), HOUSE_JWT).reason is Reason.TOKEN_INVALID
    assert Providers().configured == ()


@pytest.mark.parametrize("fault", [Unfit("the signature"), Unsuited("the audience")])
def test_every_failure_has_one_answer(fault: Exception) -> None:
    found = refusal(Providers([Watched("house", ISSUER, fault=fault)]), HOUSE_JWT)
    assert (found.reason, found.detail) == (Reason.TOKEN_INVALID, token.refused().detail)


def test_an_issuer_that_is_away_is_another_matter() -> None:
    found = refusal(Providers([Watched("house", ISSUER, fault=Away("https://secret.internal took long"))]), HOUSE_JWT)
    assert found.reason is Reason.UNAVAILABLE
    assert "secret" not in found.detail


def test_the_log_tells_why_of_real_tokens_alone(capsys: pytest.CaptureFixture[str]) -> None:
    refusal(Providers([Watched("house", ISSUER, fault=Unfit("a stranger's"))]), HOUSE_JWT)
    assert "stranger" not in "".join(capsys.readouterr())
    refusal(Providers([Watched("house", ISSUER, fault=Unsuited("the claim a"))]), HOUSE_JWT)
    assert "the claim a" in "".join(capsys.readouterr())


@pytest.mark.parametrize("builtin", list(Builtin))
def test_what_is_built_in_can_be_switched_off(builtin: Builtin) -> None:
    Providers().admit(builtin)
    Providers(builtin=[builtin]).admit(builtin)
    with pytest.raises(Refused) as caught:
        Providers(builtin=[other for other in Builtin if other is not builtin]).admit(builtin)
    assert caught.value.reason is Reason.TOKEN_INVALID


def test_all_are_kept_while_it_runs() -> None:
    async def scenario(*providers: Any) -> None:
        running = asyncio.create_task(Providers(providers).run())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert all(one.running for one in providers)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario(Watched("a", "https://a.test"), Watched("b", "https://b.test")))
    asyncio.run(Providers().run())
