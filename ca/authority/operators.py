"""Operators: a name, a role, and a client certificate for a key that they made themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from cryptography import x509

from ca.authority.authority import Authority
from ca.authority.issuance import Decision, Denied, Issued, Verdict
from ca.identifiers import OperatorName, SpiffeId
from ca.pki import csr, keys, profile
from ca.pki.certificate import Contents, Holder
from ca.pki.csr import CertificateRequest
from ca.pki.profile import Kind
from ca.store import audit, blocked_keys, operators, relying_parties
from ca.store.audit import Entry
from ca.store.operators import Operator, Role
from ca.store.relying_parties import RelyingParty
from ca.store.transaction import Connection

LIFETIME = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class _Credential:
    """What an operator is certified for. `new` is stored with the intent or not at all."""

    name: OperatorName
    holder: Holder
    actor: str
    new: Operator | None = None
    party: RelyingParty | None = None


async def add(
    authority: Authority,
    name: OperatorName,
    role: Role,
    request: CertificateRequest,
    actor: str,
    party: RelyingParty | None = None,
) -> tuple[Operator, Issued]:
    """Registers an operator and certifies the key; `party` says what a relying party may be told.

    Raises `Refused(CONFLICT)` when the name is taken.
    """
    operator = Operator(name, role, authority.clock().replace(microsecond=0))
    return operator, await _certify(authority, name, request, actor, operator, party)


async def renew(authority: Authority, name: OperatorName, request: CertificateRequest, actor: str) -> Issued:
    """A further certificate for an operator that there is; the older ones run out by themselves."""
    return await _certify(authority, name, request, actor)


async def _certify(
    authority: Authority,
    name: OperatorName,
    request: CertificateRequest,
    actor: str,
    new: Operator | None = None,
    party: RelyingParty | None = None,
) -> Issued:
    keys.admit(request.public_key, rsa_allowed=authority.rsa_allowed, known=authority.known_keys)
    spiffe_id = SpiffeId.operator(authority.names.trust_domain, name)
    subject = profile.operator_subject(authority.names.organisation, name)
    csr.check_identity(request, subject, spiffe_id)
    holder = Holder(subject, request.public_key, (x509.UniformResourceIdentifier(spiffe_id.uri),))
    return await authority.line.issue(_decide, _Credential(name, holder, actor, new, party))


def _decide(
    authority: Authority, connection: Connection, credentials: Sequence[_Credential], now: datetime
) -> list[Verdict]:
    refused = blocked_keys.refused(connection, {one.holder.key_thumbprint for one in credentials})
    validity = profile.validity(now, LIFETIME, authority.issuer.certificate.not_valid_after_utc)
    return [
        Denied(keys.not_certifiable())
        if one.holder.key_thumbprint in refused
        else Decision(
            contents=Contents(Kind.OPERATOR, one.holder, validity),
            holder=one.name,
            actor=one.actor,
            alongside=partial(_register, one.new, one.party, one.actor) if one.new else None,
        )
        for one in credentials
    ]


def _register(operator: Operator, party: RelyingParty | None, actor: str, connection: Connection) -> None:
    operators.add(connection, operator)
    detail: dict[str, Any] = {"name": operator.name, "role": operator.role.value}
    if party is not None:
        relying_parties.add(connection, party)
        tenants = None if party.tenants is None else sorted(party.tenants)
        told = {"issuer": party.issuer, "tenants": tenants, "reasons": party.sees_reasons, "key": party.key is not None}
        detail |= told
    audit.append(connection, Entry(operator.created_at, actor, "operator.add", "granted", detail=detail))
