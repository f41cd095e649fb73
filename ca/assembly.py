"""From settings to the parts: the signer, the database, and the authority that stands on both."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

from ca.authority.authority import Authority, Names
from ca.config import Settings
from ca.hsm import Signer
from ca.hsm.owner import Owner
from ca.identifiers import TrustDomain
from ca.pki.certificate import Issuer
from ca.policy.ceiling import Lifetimes
from ca.store.transaction import Database
from softhsm import configuration


def clock() -> datetime:
    """Now, in UTC: the one place where this authority's time comes from."""
    return datetime.fromtimestamp(time.time(), UTC)


def signer(settings: Settings) -> Owner:
    """The owner of the token, not yet started."""
    configuration.use(settings.module, settings.softhsm_directory)
    return Owner(
        settings.module,
        settings.pkcs11.token_label,
        lambda: settings.pin_file.read_text().strip(),
        settings.pkcs11.sessions,
    )


def names(settings: Settings) -> Names:
    """What stands in every certificate. Raises `Refused` for a trust domain that cannot be one."""
    return Names(TrustDomain(settings.trust_domain), settings.organisation, settings.oid_arc)


def authority(settings: Settings, database: Database, key: Signer, root: Issuer, issuer: Issuer) -> Authority:
    """The authority, with the machine's clock and randomness."""
    certificates = settings.certificates
    return Authority(
        database=database,
        signer=key,
        root=root,
        issuer=issuer,
        names=names(settings),
        lifetimes=Lifetimes(certificates.lifetime, certificates.shortest, certificates.longest),
        crl_lifetime=settings.status.crl_lifetime,
        public_url=settings.public_url,
        status_url=settings.status_url,
        rsa_allowed=certificates.rsa,
        clock=clock,
        random=os.urandom,
    )


def adopt(key: Signer, root: Issuer, issuer: Issuer) -> None:
    """Makes the CAs' keys ready; refuses one that does not match its certificate or could have left the token.

    Raises `ca.hsm.TokenFault`.
    """
    for ca in (root, issuer):
        key.adopt(ca.id, ca.public_key)
