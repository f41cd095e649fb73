"""From settings to the parts: the signer, the database, and the authority that stands on both."""

from __future__ import annotations

import mmap
import os
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from ca.authority.authority import Authority, Names, alone
from ca.authority.publisher import Publisher
from ca.authority.replica import Replica
from ca.config import Misconfigured, Settings
from ca.hsm import Signer
from ca.hsm.owner import Owner
from ca.identifiers import TrustDomain
from ca.pki.certificate import Issuer
from ca.pki.known_keys import NO_LIST, KnownKeys
from ca.policy.ceiling import Lifetimes
from ca.store.transaction import Connection, Database
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


def known_keys(settings: Settings) -> KnownKeys:
    """The list of keys whose private half is public; a newer file is read at the next start.

    Raises `Misconfigured`: without it no RSA key is taken, because of Debian's of 2006 to 2008.
    """
    file = settings.certificates.known_keys
    if file is None:
        if settings.certificates.rsa:
            raise Misconfigured(
                "The setting certificates.rsa needs certificates.known_keys, the list of keys whose private half is "
                "public: 'badkeys --update-bl' fetches it to ~/.cache/badkeys/blocklist.dat."
            )
        return NO_LIST
    try:
        with file.open("rb") as stream:
            return KnownKeys(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise Misconfigured(f"The setting certificates.known_keys is wrong: {file} is not a list ({error}).") from error


def replica(database: Database) -> Replica:
    """This process among the replicas, under a name of its own."""
    return Replica(database, clock, secrets.token_hex(16))


def publisher(made: Authority) -> Publisher:
    """This process among those that may publish the lists."""
    return Publisher(made, secrets.token_hex(16))


def authority(
    settings: Settings,
    database: Database,
    key: Signer,
    root: Issuer,
    issuer: Issuer,
    octet: Callable[[Connection], int] = alone,
) -> Authority:
    """The authority, with the machine's clock and randomness. Raises `Misconfigured`."""
    certificates = settings.certificates
    return Authority(
        database=database,
        signer=key,
        root=root,
        issuer=issuer,
        names=names(settings),
        lifetimes=Lifetimes(
            default=certificates.lifetime,
            shortest=certificates.shortest,
            longest=certificates.longest,
            no_revocation_under=certificates.no_revocation_under or timedelta(0),
        ),
        crl_lifetime=settings.status.crl_lifetime,
        crl_shards=settings.status.crl_shards,
        alone_up_to=settings.revocation.alone_up_to,
        public_url=settings.public_url,
        status_url=settings.status_url,
        rsa_allowed=certificates.rsa,
        known_keys=known_keys(settings),
        clock=clock,
        random=os.urandom,
        replica=octet,
    )


def adopt(key: Signer, root: Issuer, issuer: Issuer) -> None:
    """Makes the CAs' keys ready; refuses one that does not match its certificate or could have left the token.

    Raises `ca.hsm.TokenFault`.
    """
    for ca in (root, issuer):
        key.adopt(ca.id, ca.public_key)
