"""From settings to the parts: the signer, the database, and the authority that stands on both."""

from __future__ import annotations

import mmap
import os
import secrets
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from ca.authority.authority import Authority, Names, alone
from ca.authority.publisher import Publisher
from ca.authority.replica import Replica
from ca.config import Misconfigured, OidcProof, Settings, X5cProof
from ca.hook.gate import Gate
from ca.hook.headers import Form
from ca.hook.lookups import Lookups
from ca.hsm import Signer
from ca.hsm.owner import Owner
from ca.identifiers import TrustDomain
from ca.pki.certificate import Issuer
from ca.pki.known_keys import NO_LIST, KnownKeys
from ca.policy.calls import Place
from ca.policy.ceiling import Lifetimes
from ca.policy.rules import NO_RULES, Rules
from ca.policy.scope import resources
from ca.proofs import oidc, x5c
from ca.proofs.addresses import Inside, Location
from ca.proofs.claims import Rule, Value
from ca.proofs.fetch import Fetcher
from ca.proofs.jwks import Keys, Metadata, Source
from ca.proofs.oidc import Oidc
from ca.proofs.providers import Builtin, Providers
from ca.proofs.x5c import X5c
from ca.refusals import Refused
from ca.store.transaction import Connection, Database
from ca.web.gateway import Gateway, Shown
from softhsm import configuration

_Value = TypeVar("_Value")
_Read = TypeVar("_Read")


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


def rules(settings: Settings) -> Rules:
    """The operator's rules; a newer file is read at the next start. Raises `Misconfigured`."""
    file = settings.policy.file
    return NO_RULES if file is None else _read("policy.file", file, lambda it: Rules.parse(it.read_text("utf-8")))


def providers(settings: Settings, *ours: Issuer) -> Providers:
    """Every proof of identity that is enabled; their keys are fetched once they run.

    Raises `Misconfigured`, also where one of `ours` is to be believed as another CA.
    """
    proofs = settings.proofs
    builtin = [one for one in Builtin if getattr(proofs, one)]
    oidc_ones = [_oidc(settings, name, one) for name, one in proofs.oidc.items() if one.enabled]
    x5c_ones = [_x5c(settings, name, one, ours) for name, one in proofs.x5c.items() if one.enabled]
    return Providers([*oidc_ones, *x5c_ones], builtin)


def _oidc(settings: Settings, name: str, section: OidcProof) -> Oidc:
    at = f"proofs.oidc.{name}"
    if section.jwks_uri is None:
        _read(f"{at}.issuer", section.issuer, _with_metadata)
    else:
        _read(f"{at}.jwks_uri", section.jwks_uri, Location.parse)
    rules = oidc.Rules(
        name=name,
        issuer=section.issuer,
        audience=section.audience or settings.public_url,
        algorithms=section.algorithms,
        claims=_read(f"{at}.claims", section.claims, _rules),
        longest=section.max_age,
        one_time=section.one_time,
        key_bound=section.key_bound,
    )
    tls = _read(f"{at}.ca_file", section.ca_file, lambda file: ssl.create_default_context(cafile=file))
    source = Source(
        issuer=section.issuer,
        fetcher=Fetcher(tls, _read(f"{at}.private", section.private, Inside.parse)),
        metadata=Metadata(section.metadata),
        jwks_uri=section.jwks_uri,
        bearer_file=section.bearer_file,
    )
    return Oidc(rules, Keys(source.published, time.monotonic, section.issuer, section.refresh, section.usable))


def _with_metadata(issuer: str) -> Location:
    """OIDC Discovery 2, RFC 8414 2: an issuer that is the place of its own metadata has no query."""
    if "?" in issuer:
        raise ValueError("must have no query, or jwks_uri beside it")
    return Location.parse(issuer)


def _rules(claims: Mapping[str, Value | tuple[Value, ...]]) -> tuple[Rule, ...]:
    return tuple(Rule(place, one if isinstance(one, tuple) else (one,)) for place, one in claims.items())


def _x5c(settings: Settings, name: str, section: X5cProof, ours: Sequence[Issuer]) -> X5c:
    rules = x5c.Rules(name, section.audience or settings.public_url, section.max_age, section.key_bound)
    return X5c(rules, _read(f"proofs.x5c.{name}.roots", section.roots, lambda file: _anchors(file, ours)))


def _anchors(file: Path, ours: Sequence[Issuer]) -> Sequence[x509.Certificate]:
    """The roots of another CA. Our own certificates prove by mutual TLS, which asks whether they are live."""
    found = x5c.roots(file.read_bytes())
    if any(root.public_key() == one.public_key for root in found for one in ours):
        raise ValueError("holds a CA of this authority itself, whose certificates enrol by mutual TLS")
    return found


def _read(setting: str, value: _Value, read: Callable[[_Value], _Read]) -> _Read:
    """What a setting means. Raises `Misconfigured`, which names it."""
    try:
        return read(value)
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise Misconfigured(f"The setting {setting} is wrong: {value} ({error}).") from error


def gateway(settings: Settings, made: Authority, lookups: Lookups) -> Gateway:
    """What proxies ask. Raises `Misconfigured`."""
    section = settings.gateway
    resource = _read("gateway.resource", section.resource, _guarded)
    shown = Shown(section.certificate_header.encode(), Form(section.certificate_form or ""))
    return Gateway(Gate(made, lookups, Place(resource, section.details_type)), shown, resource)


def _guarded(uri: str | None) -> str | None:
    if uri is None:
        return None
    if not uri.startswith(("https://", "http://")) or '"' in uri:
        raise ValueError("must be an https or http URL")
    try:
        return resources([uri])[0]
    except Refused as refusal:
        raise ValueError(refusal.detail) from refusal


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
            overlap=certificates.overlap,
        ),
        crl_lifetime=settings.status.crl_lifetime,
        crl_shards=settings.status.crl_shards,
        alone_up_to=settings.revocation.alone_up_to,
        token_lifetime=settings.hook.token_lifetime,
        public_url=settings.public_url,
        status_url=settings.status_url,
        rsa_allowed=certificates.rsa,
        known_keys=known_keys(settings),
        rules=rules(settings),
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
