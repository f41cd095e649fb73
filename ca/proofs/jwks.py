"""The keys of one issuer: found by its metadata, fetched, kept fresh, and kept for a while when it is away.

Whoever sends JWTs cannot make this authority fetch more than once in `PAUSE_SECONDS`, whatever key ids they name:
one fetch runs at a time, all who wait share it, and none begins so soon after another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from ca.proofs.fetch import Fetcher, NotFetched
from ca.proofs.jwt import SigningKey
from ca.proofs.providers import Away

PAUSE_SECONDS = 10.0
MAX_KEYS = 64

_MAX_KID = 512
_RSA_BITS = range(2048, 8193)
_RSA_CHARACTERS = range(342, 1367)  # the same in base64url, looked at before anything is computed
_FITTING: dict[tuple[str, str | None], tuple[str, ...]] = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA", "Ed25519"),
}
_KINDS: dict[str, type[RSAKey] | type[ECKey] | type[OKPKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

_log = structlog.get_logger("remit.proofs")


class Metadata(StrEnum):
    """Where an issuer's metadata stands."""

    OPENID = "openid-configuration"
    OAUTH = "oauth-authorization-server"

    def url(self, issuer: str) -> str:
        """OIDC Discovery 4: after the issuer's path. RFC 8414 3: between its host and its path."""
        bare = issuer.rstrip("/")
        if self is Metadata.OPENID:
            return f"{bare}/.well-known/{self}"
        scheme, _, rest = bare.partition("://")
        host, slash, path = rest.partition("/")
        return f"{scheme}://{host}/.well-known/{self}{slash}{path}"


@dataclass(frozen=True, slots=True)
class PublishedKey:
    """One key of an issuer, and the algorithms that it may be used with."""

    kid: str | None
    algorithms: frozenset[str]
    key: SigningKey


@dataclass(frozen=True, slots=True)
class Source:
    """Where an issuer publishes its keys. With `jwks_uri` its metadata is not asked for.

    The bearer token in `bearer_file` is sent to what the configuration names, never to a URL that a document gave.
    """

    issuer: str
    fetcher: Fetcher
    metadata: Metadata = Metadata.OPENID
    jwks_uri: str | None = None
    bearer_file: Path | None = None

    async def published(self) -> tuple[PublishedKey, ...]:
        """The keys that stand there now. Raises `NotFetched`."""
        bearer = self._bearer()
        if self.jwks_uri is not None:
            return tuple(read_keys(await self.fetcher.fetch(self.jwks_uri, bearer)))
        url = self.metadata.url(self.issuer)
        document = await self.fetcher.fetch(url, bearer)
        # RFC 8414 3.3, OIDC Discovery 4.3: identical, or the document is somebody else's.
        if document.get("issuer") != self.issuer:
            raise NotFetched(f"{url} is the metadata of another issuer")
        jwks_uri = document.get("jwks_uri")
        if not isinstance(jwks_uri, str):
            raise NotFetched(f"{url} names no jwks_uri")
        return tuple(read_keys(await self.fetcher.fetch(jwks_uri)))

    def _bearer(self) -> str | None:
        """Read each time: what Kubernetes puts there changes."""
        if self.bearer_file is None:
            return None
        try:
            text = self.bearer_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise NotFetched(f"the bearer token in {self.bearer_file} cannot be read ({error})") from error
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            raise NotFetched(f"{self.bearer_file} holds no bearer token")
        return text


def read_keys(document: Mapping[str, Any]) -> Iterator[PublishedKey]:
    """The keys of a JWK Set (RFC 7517 5) that can verify; what is not understood is passed over.

    Raises `NotFetched` for what is no JWK Set.
    """
    listed = document.get("keys")
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise NotFetched(f"what stands at the jwks_uri is not a JWK Set of at most {MAX_KEYS} keys")
    for jwk in listed:
        if isinstance(jwk, dict) and (key := _key(jwk)) is not None:
            yield key


def _key(jwk: dict[str, Any]) -> PublishedKey | None:
    """None for a key of another use (RFC 7517 4.2, 4.3) or kind, a weak one, and one whose private half is shown."""
    kid, named = jwk.get("kid"), jwk.get("alg")
    if _PRIVATE & jwk.keys() or jwk.get("use", "sig") != "sig" or not _verifies(jwk.get("key_ops", ["verify"])):
        return None
    if kid is not None and (not isinstance(kid, str) or len(kid) > _MAX_KID):
        return None
    kind, curve = jwk.get("kty"), jwk.get("crv")
    if not isinstance(kind, str) or not (curve is None or isinstance(curve, str)):
        return None
    fitting = _FITTING.get((kind, None if kind == "RSA" else curve), ())
    algorithms = frozenset(fitting if named is None else [one for one in fitting if one == named])
    key = _imported(kind, jwk) if algorithms else None
    return PublishedKey(kid, algorithms, key) if key is not None else None


def _verifies(operations: object) -> bool:
    return isinstance(operations, list) and "verify" in operations


def _imported(kind: str, jwk: dict[str, Any]) -> SigningKey | None:
    """The members that make the key, alone: a certificate or a URL beside them is not looked at."""
    bare: dict[str, str | list[str]] = {
        name: jwk[name] for name in ("kty", "crv", "x", "y", "n", "e") if isinstance(jwk.get(name), str)
    }
    if kind == "RSA" and len(bare.get("n", "")) not in _RSA_CHARACTERS:
        return None
    try:
        key = _KINDS[kind].import_key(bare)
        public = key.public_key
    except (JoseError, ValueError, TypeError, KeyError, UnsupportedAlgorithm):
        return None
    if isinstance(public, rsa.RSAPublicKey) and (
        public.key_size not in _RSA_BITS or not 3 <= public.public_numbers().e < 1 << 32
    ):
        return None
    return key


class Keys:
    """An issuer's keys as this process knows them.

    Fetched again after `refresh`, in the background. While the issuer is away they are used until `usable` after the
    last time that it answered: so long may a key be believed in that its issuer has withdrawn.
    """

    def __init__(
        self,
        published: Callable[[], Awaitable[tuple[PublishedKey, ...]]],
        clock: Callable[[], float],
        issuer: str,
        refresh: timedelta = timedelta(minutes=5),
        usable: timedelta = timedelta(hours=1),
    ) -> None:
        self._published = published
        self._clock = clock
        self._issuer = issuer
        self._refresh = refresh.total_seconds()
        self._usable = usable.total_seconds()
        self._held: tuple[PublishedKey, ...] = ()
        self._answered: float | None = None
        self._asked: float | None = None
        self._fault = "it was not asked yet"
        self._asking: asyncio.Task[None] | None = None

    async def fitting(self, kid: str | None, algorithm: str) -> Sequence[SigningKey]:
        """The keys that a JWT may be signed by: those of its `kid`, or the only one where it names none.

        A `kid` that is not known may be new, so the issuer is asked once, and not again soon. Raises `Away`.
        """
        if not self._is_usable():
            await self._ask()
        if not self._is_usable():
            raise Away(self._fault)
        found = _fitting(self._held, kid, algorithm)
        if not found and kid is not None and kid not in {one.kid for one in self._held}:
            await self._ask()
            found = _fitting(self._held, kid, algorithm)
        return found

    async def keep(self) -> float:
        """Asks the issuer when it is time. The seconds until it is time again."""
        if self._wait() <= 0:
            await self._ask()
        return max(self._wait(), 1.0)

    async def run(self) -> None:
        """Keeps them fresh, until it is cancelled."""
        while True:
            try:
                wait = await self.keep()
            except Exception as error:  # noqa: BLE001 (border: whatever fails, the next round must come)
                _log.warning("issuer's keys not kept", issuer=self._issuer, error=repr(error), exc_info=True)
                wait = PAUSE_SECONDS
            await asyncio.sleep(wait)

    async def check(self) -> int:
        """How many there are, asked for now. Raises `Away`."""
        await self._ask()
        if not self._is_usable():
            raise Away(self._fault)
        return len(self._held)

    def _is_usable(self) -> bool:
        return self._answered is not None and self._clock() < self._answered + self._usable

    def _wait(self) -> float:
        """Until the next fetch in the background: after an answer its freshness, after a failure the pause."""
        if self._asked is None:
            return 0.0
        after = self._refresh if self._asked == self._answered else min(self._refresh, 3 * PAUSE_SECONDS)
        return self._asked + after - self._clock()

    async def _ask(self) -> None:
        """One fetch for all who wait; it goes on when one of them leaves."""
        if self._asking is None:
            if self._asked is not None and self._clock() < self._asked + PAUSE_SECONDS:
                return
            self._asking = asyncio.create_task(self._fetch())
        await asyncio.shield(self._asking)

    async def _fetch(self) -> None:
        began = self._clock()
        self._asked = began
        try:
            self._held = await self._published()
            self._answered = began
        except NotFetched as error:
            self._fault = str(error)
            _log.warning("issuer's keys not fetched", issuer=self._issuer, why=self._fault)
        finally:
            self._asking = None


def _fitting(held: Collection[PublishedKey], kid: str | None, algorithm: str) -> list[SigningKey]:
    found = [one.key for one in held if algorithm in one.algorithms and (kid is None or one.kid == kid)]
    # RFC 7515 4.1.4: without a key id nothing says which one, so there must be no choice.
    return found if kid is not None or len(found) == 1 else []
