"""The kinds of certificate that this authority issues: one `Profile` each, and how long they live.

A certificate is a function of its profile, the identity that policy computed, and the public key.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ca.identifiers import AgentId, OperatorName, TenantId
from ca.refusals import Reason, Refused

BACKDATE = timedelta(seconds=60)
"""How far notBefore lies before now, for clocks that are behind."""

OPERATORS_UNIT = "operators"
_SECOND = timedelta(seconds=1)


class Kind(StrEnum):
    """What a certificate is for."""

    ROOT = "root"
    ISSUING = "issuing"
    RESPONDER = "responder"
    SERVER = "server"
    OPERATOR = "operator"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Profile:
    """What is the same in every certificate of a kind (RFC 5280 4.2; RFC 6960 4.2.2.2 for the responder)."""

    kind: Kind
    path_length: int | None = None
    certificate_authority: bool = False
    purpose: x509.ObjectIdentifier | None = None
    points_to_crl: bool = True
    points_to_ocsp: bool = True
    no_check: bool = False


PROFILES = {
    profile.kind: profile
    for profile in (
        Profile(Kind.ROOT, certificate_authority=True, points_to_crl=False, points_to_ocsp=False),
        Profile(Kind.ISSUING, certificate_authority=True, path_length=0, points_to_ocsp=False),
        Profile(
            Kind.RESPONDER,
            purpose=ExtendedKeyUsageOID.OCSP_SIGNING,
            points_to_crl=False,
            points_to_ocsp=False,
            no_check=True,
        ),
        Profile(Kind.SERVER, purpose=ExtendedKeyUsageOID.SERVER_AUTH),
        Profile(Kind.OPERATOR, purpose=ExtendedKeyUsageOID.CLIENT_AUTH),
        Profile(Kind.AGENT, purpose=ExtendedKeyUsageOID.CLIENT_AUTH),
    )
}


@dataclass(frozen=True, slots=True)
class Validity:
    """From `not_before` through `not_after`, both included (RFC 5280 4.1.2.5): whole seconds, UTC."""

    not_before: datetime
    not_after: datetime

    @property
    def lifetime(self) -> timedelta:
        """How long it holds from the moment it was made, which is a minute after `not_before`."""
        return self.not_after - self.not_before - BACKDATE + _SECOND


def validity(now: datetime, lifetime: timedelta, *ends: datetime | None) -> Validity:
    """Back-dated by a minute, `lifetime` from now, and never past any of `ends` (a deadline, a parent, the issuer).

    Raises `Refused(LIFETIME_REFUSED)` when nothing remains.
    """
    start = now.replace(microsecond=0)
    # The last second counts: a lifetime of 900 s ends in its 900th second, not after it.
    last = start + lifetime - _SECOND
    end = min([last, *(moment for moment in ends if moment is not None)]).replace(microsecond=0)
    if end <= start:
        raise Refused(Reason.LIFETIME_REFUSED, "No lifetime remains: the task, the request or the issuer ends now.")
    return Validity(not_before=start - BACKDATE, not_after=end)


def agent_subject(organisation: str, tenant: TenantId, agent: AgentId) -> x509.Name:
    """`CN=<agent>,OU=<tenant>,O=<organisation>` as RFC 4514 writes it: stable for the agent's life."""
    return _subject(organisation, tenant, agent)


def agent_dn(organisation: str, tenant: TenantId, agent: AgentId) -> str:
    """`agent_subject` in RFC 4514: registry names need no escaping, an organisation may."""
    return f"CN={agent},OU={tenant},{_escaped(organisation)}"


@lru_cache(maxsize=64)
def _escaped(organisation: str) -> str:
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)]).rfc4514_string()


def operator_subject(organisation: str, name: OperatorName) -> x509.Name:
    """The subject of an operator's credential."""
    return _subject(organisation, OPERATORS_UNIT, name)


def authority_subject(organisation: str, common_name: str) -> x509.Name:
    """The subject of a CA or of a part of it."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


@lru_cache(maxsize=4096)
def _subject(organisation: str, unit: str, common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
