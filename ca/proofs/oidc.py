"""JWTs of one OpenID provider, authorization server, cluster or CI: OIDC Core 3.1.3.7, RFC 7519, RFC 9068 4.

Kubernetes' projected service-account tokens, the tokens of GitHub's and GitLab's jobs, of clouds' identities, and an
authorization server's own access tokens all are this: a JWT with `iss`, `sub`, `aud`, `exp` and `iat`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ca.pki.keys import PublicKey
from ca.proofs import jwt
from ca.proofs.claims import Rule
from ca.proofs.jwks import Keys
from ca.proofs.jwt import Jwt, SigningKey, Unfit, Unsuited
from ca.proofs.providers import Attested

_MAX_KID = 512
_MAX_AUDITED = 256


@dataclass(frozen=True, slots=True)
class Rules:
    """What a JWT of this issuer must say. `one_time`: it has a `jti` and opens once; `key_bound`: it has a `cnf`."""

    name: str
    issuer: str
    audience: str
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    claims: tuple[Rule, ...] = ()
    longest: timedelta = timedelta(hours=1)
    one_time: bool = False
    key_bound: bool = False


class Oidc:
    """One issuer, by its rules and its published keys."""

    by_certificate = False

    def __init__(self, rules: Rules, keys: Keys) -> None:
        self._rules = rules
        self._keys = keys
        self.name = rules.name
        self.issuer = rules.issuer

    async def attest(self, token: Jwt, key: PublicKey, now: datetime) -> Attested:
        """The signature first, so that what else is wrong is told of real tokens alone. Raises `Unfit`, `Away`."""
        kid = token.header.get("kid")
        if token.algorithm not in self._rules.algorithms:
            raise Unfit("an algorithm that is not allowed")
        if kid is not None and (not isinstance(kid, str) or len(kid) > _MAX_KID):
            raise Unfit("a kid that is no string")
        self._verify(token, await self._keys.fitting(kid, token.algorithm))
        try:
            return self.judge(token, key, now)
        except Unfit as unfit:
            raise Unsuited(str(unfit)) from unfit

    def judge(self, token: Jwt, key: PublicKey, now: datetime) -> Attested:
        """What a JWT of this issuer, its signature verified, attests. Raises `Unfit`."""
        rules = self._rules
        if token.issuer != rules.issuer:
            raise Unfit("it names another issuer")
        expires = jwt.check_times(token, now, rules.longest)
        jwt.check_audience(token, rules.audience)
        for rule in rules.claims:
            if not rule.is_met(token.claims):
                raise Unfit(f"the claim {rule.place} is not as configured")
        bound = jwt.bound_key(token, key)
        if rules.key_bound and bound is None:
            raise Unfit("it is not bound to a key (cnf)")
        return Attested(
            provider=rules.name,
            issuer=rules.issuer,
            subject=token.string("sub"),
            expires=expires,
            once=jwt.once(token, rules.name) if rules.one_time else None,
            key=bound,
            extra=_audited(token),
        )

    async def run(self) -> None:
        """Keeps the issuer's keys fresh, until it is cancelled."""
        await self._keys.run()

    async def check(self, _now: datetime) -> str:
        """How many keys the issuer publishes. Raises `Away`."""
        number = await self._keys.check()
        return f"{self.issuer} publishes {number} key{'s' if number != 1 else ''} to verify with."

    def _verify(self, token: Jwt, candidates: Iterable[SigningKey]) -> None:
        fault = Unfit("no key of that kid")
        for candidate in candidates:
            try:
                return jwt.verify(token, candidate, self._rules.algorithms)
            except Unfit as unfit:
                fault = unfit
        raise fault


def _audited(token: Jwt) -> dict[str, str]:
    """By what the issuer can be asked about this JWT again."""
    named = {name: token.claims.get(name) for name in ("jti", "azp", "client_id")}
    return {name: value[:_MAX_AUDITED] for name, value in named.items() if isinstance(value, str)}
