"""One configured issuer whose published keys a test decides, and what its JWTs attest."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc.jwk import Key

from ca.pki.keys import PublicKey
from ca.proofs import jwks, jwt, oidc
from ca.proofs.fetch import NotFetched
from ca.proofs.jwks import Keys, PublishedKey
from ca.proofs.oidc import Oidc
from ca.proofs.providers import Attested, Provider, Providers
from ca.refusals import Reason, Refused
from tests.ca.proofs.issuer import AUDIENCE, EC, NOW, RSA

ISSUER = "https://issuer.test"
CSR_KEY = ec.generate_private_key(ec.SECP256R1()).public_key()
JKT = jwt.jwk_thumbprint(CSR_KEY)


class Published:
    """What an issuer publishes, and how often it was asked."""

    def __init__(self, *published: Key) -> None:
        self.keys = published
        self.asked = 0
        self.away = False

    async def __call__(self) -> tuple[PublishedKey, ...]:
        self.asked += 1
        if self.away:
            raise NotFetched("it is away")
        return tuple(jwks.read_keys({"keys": [key.as_dict(private=False) for key in self.keys]}))


def house(published: Published | None = None, **rules: Any) -> Oidc:
    """The issuer, with the least that must be configured and these rules."""
    made = oidc.Rules(**({"name": "house", "issuer": ISSUER, "audience": AUDIENCE} | rules))
    return Oidc(made, Keys(published or Published(EC, RSA), lambda: 0.0, ISSUER))


def attested(token: str, provider: Provider | None = None, now: datetime = NOW, key: PublicKey = CSR_KEY) -> Attested:
    """Who the bearer is. Raises `Refused`."""
    return asyncio.run(Providers([provider or house()]).attest(token, key, now))


def refused(token: str, provider: Provider | None = None, now: datetime = NOW, key: PublicKey = CSR_KEY) -> bool:
    """Whether it is refused by the one answer that every failure has."""
    with pytest.raises(Refused) as caught:
        attested(token, provider, now, key)
    assert caught.value.reason is Reason.TOKEN_INVALID
    assert caught.value.detail.startswith("This proof of identity is not accepted: ")
    return True
