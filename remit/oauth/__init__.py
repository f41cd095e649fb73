"""Access tokens for an agent, by its certificate or the key of it: client credentials, nobody asked, no secret stored.

`auth` is what an HTTP client takes; `discovery`, `asking` and `proofs` are the protocol without a network: they say
what to send and read what came. The CA is not asked here; its certificate is what is shown.
"""

from remit.oauth.asking import Method
from remit.oauth.auth import OAuth

__all__ = ["Method", "OAuth"]
