"""A JWT read strictly, once: bounded, one spelling, every member named once; and its signature checked.

Nothing here decides who is trusted. `read` costs a bounded parse and no cryptography, so that an issuer
nobody configured is turned away by it alone. RFC 8725 is followed throughout: explicit algorithms (3.1),
all of it validated (3.3), no key or URL from the token itself (3.10), explicit types (3.11).
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwa import JWSAlgModel
from joserfc.jwk import ECKey, OKPKey, RSAKey

from ca.identifiers import Thumbprint
from ca.pki import keys
from ca.pki.keys import PublicKey
from ca.refusals import Refused

MAX_LENGTH = 16384
LEEWAY = timedelta(seconds=30)

SigningKey = RSAKey | ECKey | OKPKey

_COMPACT = re.compile(r"([A-Za-z0-9_-]{2,12288})\.([A-Za-z0-9_-]{2,16384})\.([A-Za-z0-9_-]{16,2048})")
_MAX_STRING = 2048
# RFC 7515 4.1: what would have us take a key from the token, from a URL of its choosing, or read it otherwise.
_REFUSED_HEADERS = frozenset({"jku", "x5u", "jwk", "crit", "b64", "zip", "enc"})
# An access token (RFC 9068 2.1), or what says nothing of itself; never a logout token, a SET or a DPoP proof.
_TYPES = frozenset({"jwt", "application/jwt", "at+jwt", "application/at+jwt"})
_LAST_SECOND = 253402214399  # 9999-12-30T23:59:59Z: a leeway later it is still a time


class Unfit(Exception):  # noqa: N818 (a refusal's cause, told to our own log alone)
    """This JWT proves nothing; why is nobody's to know but our log's."""


class Unsuited(Unfit):
    """A JWT whose signature is its issuer's, and that still does not do."""


@dataclass(frozen=True, slots=True)
class Jwt:
    """What a JWT says; nothing of it is proven before `verify`."""

    text: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]

    @property
    def algorithm(self) -> str:
        """RFC 7515 4.1.1."""
        return str(self.header["alg"])

    @property
    def issuer(self) -> str:
        """RFC 7519 4.1.1, compared exactly. Raises `Unfit` without one."""
        return self.string("iss")

    def string(self, name: str) -> str:
        """A claim that must be a string that says something. Raises `Unfit`."""
        value = self.claims.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= _MAX_STRING or not value.isprintable():
            raise Unfit(f"the claim {name} is not a string of 1 to {_MAX_STRING} printable characters")
        return value

    def time(self, name: str) -> datetime:
        """A claim that must be a NumericDate (RFC 7519 2). Raises `Unfit`."""
        value = self.claims.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LAST_SECOND:
            raise Unfit(f"the claim {name} is not a NumericDate")
        return datetime.fromtimestamp(value, UTC)


def read(text: str) -> Jwt:
    """Raises `Unfit` for what is not a signed JWT in compact form (RFC 7515 3.1, RFC 7519 7.2)."""
    parts = _COMPACT.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if parts is None:
        raise Unfit("not a JWT")
    header, claims = _part(parts[1]), _part(parts[2])
    if not isinstance(header.get("alg"), str):
        raise Unfit("no alg")
    if refused := _REFUSED_HEADERS & header.keys():
        raise Unfit(f"the header has {', '.join(sorted(refused))}")
    kind = header.get("typ", "jwt")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise Unfit("another kind of token (typ)")
    return Jwt(text, header, claims)


def verify(token: Jwt, key: SigningKey, algorithms: Collection[str]) -> None:
    """Checks the signature by this key under one of these algorithms. Raises `Unfit`."""
    if token.algorithm not in algorithms:
        raise Unfit("an algorithm that is not allowed")
    try:
        jws.deserialize_compact(token.text, key, registry=_Registry(algorithms))
    except (JoseError, ValueError, TypeError) as error:
        raise Unfit(f"the signature does not verify ({type(error).__name__})") from error


def check_times(token: Jwt, now: datetime, longest: timedelta) -> datetime:
    """`exp` and `iat` required, `nbf` heeded (RFC 7519 4.1.4 to 4.1.6), not older than `longest`.

    Returns the time from which it is refused: its `exp` and the leeway. Raises `Unfit`.
    """
    expires, issued = token.time("exp") + LEEWAY, token.time("iat")
    if expires <= now:
        raise Unfit("it has expired")
    if issued > now + LEEWAY or ("nbf" in token.claims and token.time("nbf") > now + LEEWAY):
        raise Unfit("it is not valid yet")
    if issued + longest + LEEWAY <= now:
        raise Unfit(f"it is older than {longest}")
    return expires


def check_audience(token: Jwt, audience: str) -> None:
    """`aud` is ours, alone or in an array of strings (RFC 7519 4.1.3). Raises `Unfit`."""
    value = token.claims.get("aud")
    named = [value] if isinstance(value, str) else value
    if not isinstance(named, list) or not all(isinstance(one, str) for one in named):
        raise Unfit("aud is neither a string nor an array of strings")
    if audience not in named:
        raise Unfit("it is for another audience")


def bound_key(token: Jwt, key: PublicKey) -> Thumbprint | None:
    """The thumbprint of the key that the JWT is bound to, which must be this one; None where it is bound to none.

    RFC 7800 3.1 and RFC 9449 6.1: `cnf` with the key's `jkt`. A confirmation by anything else, such as a TLS
    certificate's `x5t#S256`, cannot be checked at enrolment, so whoever shows it may have stolen it.
    Raises `Unfit`.
    """
    confirmation = token.claims.get("cnf")
    if confirmation is None:
        return None
    if not isinstance(confirmation, dict) or confirmation.keys() != {"jkt"}:
        raise Unfit("it is bound (cnf) by something other than a key's thumbprint (jkt)")
    if confirmation["jkt"] != jwk_thumbprint(key):
        raise Unfit("it is bound to another key")
    return keys.thumbprint(key)


def jwk_thumbprint(key: PublicKey) -> str:
    """RFC 7638: SHA-256 over the key as a JWK, in base64url. Raises `Unfit` for a key that is never a JWK here."""
    return imported(key).thumbprint()


def imported(key: object) -> SigningKey:
    """A public key of ours as joserfc knows it. Raises `Unfit` for a kind that signs no JWT."""
    try:
        spki = keys.pem(keys.narrow(key))
    except Refused as refusal:
        raise Unfit("a key of another kind") from refusal
    for kind in (ECKey, RSAKey, OKPKey):
        try:
            return kind.import_key(spki)
        except (JoseError, ValueError, TypeError):
            continue
    raise Unfit("a key of another kind")


def once(token: Jwt, *maker: str) -> Thumbprint:
    """What a JWT that may be used once is remembered by: its `jti` (RFC 7519 4.1.7), unique to who made it.

    Raises `Unfit` without one.
    """
    return Thumbprint.of(json.dumps([*maker, token.string("jti")]).encode())


class _Registry(jws.JWSRegistry):
    """Room for an x5c header, headers that we have looked at ourselves, and EdDSA as RFC 9864 narrows it."""

    max_header_length = MAX_LENGTH
    max_payload_length = MAX_LENGTH
    max_signature_length = 2048

    def __init__(self, algorithms: Collection[str]) -> None:
        super().__init__(algorithms=list(algorithms), strict_check_header=False)

    def get_alg(self, name: str) -> JWSAlgModel:
        return self.algorithms["Ed25519"] if name == "EdDSA" else super().get_alg(name)


def parse_object(raw: bytes) -> dict[str, Any]:
    """A JSON object that can be read in one way alone. Raises `Unfit`."""
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_members, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Unfit("not JSON in UTF-8") from error
    if not isinstance(value, dict):
        raise Unfit("not a JSON object")
    return value


def _part(encoded: str) -> dict[str, Any]:
    """An object in base64url without padding and in its one spelling (RFC 7515 2). Raises `Unfit`."""
    try:
        raw = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    except ValueError as error:
        raise Unfit("not base64url") from error
    if urlsafe_b64encode(raw).rstrip(b"=").decode() != encoded:
        raise Unfit("base64url in a second spelling")
    return parse_object(raw)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """RFC 7515 4 and RFC 7519 4: a name that comes twice would be read one way here and another way elsewhere."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Unfit("a member that comes twice")
    return members


def _no_number(name: str) -> Any:
    raise Unfit(f"{name} is not JSON")
