"""What every act needs: the database, the signer, our CAs, our names, and where time and chance come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ca.hsm import Signer
from ca.identifiers import TrustDomain
from ca.pki.certificate import Issuer
from ca.policy.ceiling import Lifetimes
from ca.store.transaction import Database


@dataclass(frozen=True, slots=True)
class Names:
    """What stands in every certificate."""

    trust_domain: TrustDomain
    organisation: str
    oid_arc: str


@dataclass(frozen=True, slots=True)
class Authority:
    """Handed to every verb. `clock` gives aware UTC; `random` gives that many octets."""

    database: Database
    signer: Signer
    root: Issuer
    issuer: Issuer
    names: Names
    lifetimes: Lifetimes
    crl_lifetime: timedelta
    public_url: str
    status_url: str
    rsa_allowed: bool
    clock: Callable[[], datetime]
    random: Callable[[int], bytes]
    replica: int = 1
