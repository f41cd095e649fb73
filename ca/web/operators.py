"""`/v1/operators`: who may call the authority, and in which role."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from ca.authority import operators as registry
from ca.identifiers import OperatorName
from ca.pki import csr
from ca.store import operators
from ca.store.operators import Operator, Role
from ca.web.bodies import Body, rfc3339
from ca.web.callers import Manager, Reader, TheAuthority
from ca.web.issued import issuer_pem, pem

router = APIRouter(prefix="/v1/operators", tags=["operators"])


class OperatorBody(Body):
    """A new operator, with a CSR for the key that it made itself."""

    name: str
    role: Role
    csr: str = Field(max_length=16384)


@router.post("", status_code=201)
async def add(authority: TheAuthority, who: Manager, body: OperatorBody) -> dict[str, Any]:
    """Registers an operator and certifies its key."""
    request = await run_in_threadpool(csr.parse, body.csr.encode())
    operator, issued = await registry.add(authority, OperatorName(body.name), body.role, request, who.name)
    return {
        **describe(operator),
        "serial": str(issued.intent.serial),
        "certificate": pem(issued.der),
        "chain": pem(issued.der) + issuer_pem(authority.issuer),
        "not_after": rfc3339(issued.intent.not_after),
    }


@router.get("")
def search(authority: TheAuthority, _caller: Reader) -> dict[str, Any]:
    """All operators."""
    with authority.database.read() as connection:
        return {"items": [describe(operator) for operator in operators.everyone(connection)], "next": None}


def describe(operator: Operator) -> dict[str, Any]:
    """An operator as the API shows it."""
    return {"name": operator.name, "role": operator.role.value, "created_at": rfc3339(operator.created_at)}
