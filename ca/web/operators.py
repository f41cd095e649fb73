"""`/v1/operators`: who may call the authority, and in which role."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Any

from fastapi import APIRouter
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from ca.authority import operators as registry
from ca.identifiers import OperatorName, TenantId, Thumbprint
from ca.pki import csr
from ca.refusals import Reason, Refused
from ca.store import operators
from ca.store.operators import Operator, Role
from ca.store.relying_parties import RelyingParty
from ca.web.bodies import Body, rfc3339
from ca.web.callers import Manager, Reader, TheAuthority
from ca.web.hook import KEY_PREFIX
from ca.web.issued import issuer_pem, pem

router = APIRouter(prefix="/v1/operators", tags=["operators"])

_KEY_OCTETS = 32


class OperatorBody(Body):
    """A new operator, with a CSR for the key that it made itself."""

    name: str
    role: Role
    csr: str = Field(max_length=16384)
    issuer: str | None = Field(None, max_length=512, description="A relying party's own issuer identifier.")
    tenants: list[str] | None = Field(None, description="Whose certificates a relying party may ask about; all.")
    reasons: bool = Field(False, description="Whether a relying party hears why a certificate is of no use.")
    key: bool = Field(False, description="Whether a relying party gets a key to show instead of its certificate.")


@router.post("", status_code=201)
async def add(authority: TheAuthority, who: Manager, body: OperatorBody) -> dict[str, Any]:
    """Registers an operator and certifies its key. A relying party's own `key` is in this answer and nowhere else."""
    request = await run_in_threadpool(csr.parse, body.csr.encode())
    key = KEY_PREFIX + urlsafe_b64encode(authority.random(_KEY_OCTETS)).decode() if body.key else None
    party = _party(body, key)
    operator, issued = await registry.add(authority, OperatorName(body.name), body.role, request, who.name, party)
    return {
        **describe(operator),
        **({"key": key} if key else {}),
        "serial": str(issued.intent.serial),
        "certificate": pem(issued.der),
        "chain": pem(issued.der) + issuer_pem(authority.issuer),
        "not_after": rfc3339(issued.intent.not_after),
    }


def _party(body: OperatorBody, key: str | None) -> RelyingParty | None:
    if body.role is not Role.RELYING_PARTY:
        if body.issuer or body.tenants is not None or body.reasons or body.key:
            raise Refused(Reason.MALFORMED, "issuer, tenants, reasons and key are a relying party's.")
        return None
    return RelyingParty(
        name=OperatorName(body.name),
        issuer=body.issuer,
        tenants=None if body.tenants is None else frozenset(map(TenantId, body.tenants)),
        sees_reasons=body.reasons,
        key=None if key is None else Thumbprint.of(key.encode()),
    )


@router.get("")
def search(authority: TheAuthority, _caller: Reader) -> dict[str, Any]:
    """All operators."""
    with authority.database.read() as connection:
        return {"items": [describe(operator) for operator in operators.everyone(connection)], "next": None}


def describe(operator: Operator) -> dict[str, Any]:
    """An operator as the API shows it."""
    return {"name": operator.name, "role": operator.role.value, "created_at": rfc3339(operator.created_at)}
