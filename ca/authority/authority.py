"""What every act needs: the database, the signer, our CAs, our names, and where time and chance come from."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ca.authority.line import Line
from ca.hsm import Signer
from ca.identifiers import TrustDomain
from ca.pki.certificate import Issuer
from ca.pki.keys import PublicKey
from ca.pki.known_keys import NO_LIST
from ca.policy.ceiling import Lifetimes
from ca.policy.rules import NO_RULES, Rules
from ca.store.transaction import Connection, Database


@dataclass(frozen=True, slots=True)
class Names:
    """What stands in every certificate."""

    trust_domain: TrustDomain
    organisation: str
    oid_arc: str


def alone(_connection: Connection) -> int:
    """The octet of one that has no others beside it: a ceremony."""
    return 1


@dataclass(frozen=True, slots=True)
class Authority:
    """Handed to every verb. `clock` gives aware UTC; `random` gives that many octets. Close it at the end.

    New certificates name one of the lists 1 to `crl_shards` of the issuing CA, or the full list when that is 0.
    All its certificates are made on its `line`. `replica` gives the first octet of serials, inside the
    transaction that stores them. `alone_up_to` is how many certificates one operator may revoke by one call.
    No token that is bound to a certificate lives longer than `token_lifetime`.
    `rules` are asked once all else is decided, and take from it.
    """

    database: Database
    signer: Signer
    root: Issuer
    issuer: Issuer
    names: Names
    lifetimes: Lifetimes
    crl_lifetime: timedelta
    crl_shards: int
    public_url: str
    status_url: str
    rsa_allowed: bool
    clock: Callable[[], datetime]
    random: Callable[[int], bytes]
    known_keys: Container[PublicKey] = NO_LIST
    alone_up_to: int | None = None
    token_lifetime: timedelta = timedelta(minutes=5)
    rules: Rules = NO_RULES
    replica: Callable[[Connection], int] = alone
    line: Line = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "line", Line(self))

    def close(self) -> None:
        """Finishes the certificates that were asked for; the database and the signer stay open."""
        self.line.close()
