"""What the certificate's key signs: who the client is (RFC 7523), and that it sends this request (RFC 9449)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from secrets import token_urlsafe
from typing import Any

import httpx2

from remit.jose import Signer, base64url

_NOTHING: Mapping[str, Any] = {}
_ASSERTION_LIFE = timedelta(seconds=60)


def client_assertion(
    signer: Signer, client_id: str, audience: str, now: datetime, header: Mapping[str, Any] = _NOTHING
) -> str:
    """RFC 7523 3: for this authorization server alone, once, for a minute. `header` has more members of it."""
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "jti": token_urlsafe(16),
        "iat": int(now.timestamp()),
        "exp": int((now + _ASSERTION_LIFE).timestamp()),
    }
    return signer.sign({"typ": "JWT", **signer.named(), **header}, claims)


def dpop(
    signer: Signer, method: str, url: httpx2.URL, now: datetime, *, nonce: str | None = None, token: str | None = None
) -> str:
    """RFC 9449 4.2: that the holder of the key sends this request, with this token."""
    claims: dict[str, Any] = {
        "jti": token_urlsafe(16),
        "htm": method,
        "htu": str(url.copy_with(path=url.path, query=None, fragment=None)),  # a path of its own, if only a slash
        "iat": int(now.timestamp()),
    }
    if token is not None:
        claims["ath"] = base64url(sha256(token.encode()).digest())
    if nonce is not None:
        claims["nonce"] = nonce
    return signer.sign({"typ": "dpop+jwt", "jwk": signer.jwk}, claims)
