"""Operators: a name, a role, and a client certificate for a key that they made themselves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from cryptography import x509

from ca.authority.authority import Authority
from ca.authority.issuance import Decision, Issued, issue
from ca.identifiers import OperatorName, Serial, SpiffeId
from ca.pki import csr, keys, profile
from ca.pki.certificate import Contents, Holder
from ca.pki.csr import CertificateRequest
from ca.pki.profile import Kind
from ca.store import audit, operators
from ca.store.audit import Entry
from ca.store.operators import Operator, Role
from ca.store.transaction import Connection

LIFETIME = timedelta(days=90)


async def add(
    authority: Authority, name: OperatorName, role: Role, request: CertificateRequest, actor: str
) -> tuple[Operator, Issued]:
    """Registers an operator and certifies the key. Raises `Refused(CONFLICT)` when the name is taken."""
    operator = Operator(name, role, authority.clock().replace(microsecond=0))

    def register(connection: Connection, _serial: Serial) -> None:
        operators.add(connection, operator)
        detail = {"name": name, "role": role.value}
        audit.append(connection, Entry(operator.created_at, actor, "operator.add", "granted", detail=detail))

    return operator, await _certify(authority, name, request, actor, register)


async def renew(authority: Authority, name: OperatorName, request: CertificateRequest, actor: str) -> Issued:
    """A further certificate for an operator that there is; the older ones run out by themselves."""
    return await _certify(authority, name, request, actor, None)


async def _certify(
    authority: Authority,
    name: OperatorName,
    request: CertificateRequest,
    actor: str,
    register: Callable[[Connection, Serial], None] | None,
) -> Issued:
    keys.admit(request.public_key, rsa_allowed=authority.rsa_allowed)
    spiffe_id = SpiffeId.operator(authority.names.trust_domain, name)
    subject = profile.operator_subject(authority.names.organisation, name)
    csr.check_identity(request, subject, spiffe_id)

    def decide(_connection: Connection, now: datetime) -> Decision:
        contents = Contents(
            kind=Kind.OPERATOR,
            holder=Holder(subject, request.public_key, (x509.UniformResourceIdentifier(spiffe_id.uri),)),
            validity=profile.validity(now, LIFETIME, authority.issuer.certificate.not_valid_after_utc),
        )
        return Decision(contents, holder=name, actor=actor, spend=register)

    return await issue(authority, decide)
