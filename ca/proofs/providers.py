"""The providers of identity that are configured, each by its name, and which of them a JWT is for.

A provider turns a JWT into an `Attested`: an issuer and a subject, exact strings that the registry of agents is
asked for. Whose agent that is, and what it may have, is not decided here. What no enabled provider is named for is
refused before anything else is looked at: no signature is checked and nothing is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import structlog

from ca.identifiers import Thumbprint
from ca.pki.keys import PublicKey
from ca.proofs import jwt, token
from ca.proofs.jwt import Jwt, Unfit, Unsuited
from ca.refusals import Reason, Refused

_AWAY = "Whoever made this proof of identity cannot be asked for its keys at present; try again."

_log = structlog.get_logger("remit.proofs")


class Builtin(StrEnum):
    """The proofs that this authority makes itself."""

    TOKEN = "token"  # noqa: S105 (a name)
    CERTIFICATE = "certificate"


@dataclass(frozen=True, slots=True)
class Attested:
    """Who an outside issuer says the bearer is.

    `expires` is when the provider itself begins to refuse the JWT, its leeway included: until then `once`, where
    there is one, must be remembered as spent. `key` is the CSR's key (SHA-256 of its SubjectPublicKeyInfo) where
    the JWT is bound to it. `extra` is for the audit log, and never decided by.
    """

    provider: str
    issuer: str
    subject: str
    expires: datetime
    once: Thumbprint | None = None
    key: Thumbprint | None = None
    extra: Mapping[str, str] = field(default_factory=dict)


class Away(Exception):  # noqa: N818 (an answer: try again)
    """The issuer's keys cannot be had at all; why is for our log."""


class Provider(Protocol):
    """One issuer of JWTs."""

    @property
    def name(self) -> str:
        """What the configuration calls it."""
        ...

    @property
    def issuer(self) -> str:
        """The `iss` that is its, exactly."""
        ...

    @property
    def by_certificate(self) -> bool:
        """Whether its JWTs carry their certificates (x5c), and those of no other do."""
        ...

    async def attest(self, token: Jwt, key: PublicKey, now: datetime) -> Attested:
        """Who the bearer of this JWT, which names this issuer, is. Raises `Unfit`, `Away`."""
        ...

    async def run(self) -> None:
        """Keeps fresh what it needs, until it is cancelled."""
        ...

    async def check(self, now: datetime, /) -> str:
        """What it stands on, in a sentence for `doctor`. Raises `Away` where that cannot be had."""
        ...


class Providers:
    """Every provider that is enabled. One without configuration knows the built-in ones alone."""

    def __init__(self, configured: Iterable[Provider] = (), builtin: Iterable[Builtin] = tuple(Builtin)) -> None:
        self._builtin = frozenset(builtin)
        self._configured = {(one.by_certificate, one.issuer): one for one in configured}

    @property
    def configured(self) -> tuple[Provider, ...]:
        """Those that stand in the configuration."""
        return tuple(self._configured.values())

    def admit(self, builtin: Builtin) -> None:
        """Raises `Refused(TOKEN_INVALID)` where this built-in proof is switched off."""
        if builtin not in self._builtin:
            raise token.refused()

    def recognise(self, credential: str) -> Provider:
        """The provider that this JWT is for, by its form and its exact issuer; nothing is proven by it.

        Cheap and without cryptography: to be asked before the CSR is read. Raises `Refused(TOKEN_INVALID)`.
        """
        try:
            return self._recognise(jwt.read(credential))
        except Unfit as unfit:
            raise token.refused() from unfit

    async def attest(self, credential: str, key: PublicKey, now: datetime) -> Attested:
        """Who the bearer is, who has proved to hold this key by the CSR.

        One answer for every failure: it tells a stranger nothing. Raises `Refused`: TOKEN_INVALID, or UNAVAILABLE
        where the issuer's keys cannot be had at all.
        """
        provider = None
        try:
            presented = jwt.read(credential)
            provider = self._recognise(presented)
            return await provider.attest(presented, key, now)
        except Unsuited as unsuited:
            # Told of only when the signature was the issuer's: a stranger cannot fill the log.
            _log.info("proof refused", provider=provider.name if provider else None, why=str(unsuited))
            raise token.refused() from unsuited
        except Unfit as unfit:
            raise token.refused() from unfit
        except Away as away:
            raise Refused(Reason.UNAVAILABLE, _AWAY) from away

    async def run(self) -> None:
        """Keeps every provider's keys fresh, until it is cancelled."""
        await asyncio.gather(*(provider.run() for provider in self.configured))

    def _recognise(self, presented: Jwt) -> Provider:
        provider = self._configured.get(("x5c" in presented.header, presented.issuer))
        if provider is None:
            raise Unfit("no provider of that name")
        return provider
