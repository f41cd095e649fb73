"""`/v1/crls`: which lists are in force, and a way to publish anew at once."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from ca.authority import hierarchy
from ca.authority.authority import Authority
from ca.store import crls
from ca.store.crls import DELTA, Heading
from ca.web.bodies import rfc3339
from ca.web.callers import Publisher, Reader, TheAuthority

router = APIRouter(prefix="/v1/crls", tags=["CRLs"])


@router.get("")
def search(authority: TheAuthority, _caller: Reader) -> dict[str, Any]:
    """The CRLs in force."""
    with authority.database.read() as connection:
        published = crls.headings(connection)
    return {"items": [describe(authority, crl) for crl in published], "next": None}


@router.post("/publish")
async def publish_now(request: Request, authority: TheAuthority, _caller: Publisher) -> dict[str, Any]:
    """Signs and publishes every CRL anew."""
    published = await request.app.state.publisher.publish()
    return {"items": [describe(authority, crl) for crl in published], "next": None}


def describe(authority: Authority, crl: Heading) -> dict[str, Any]:
    """A CRL as the API shows it: list 0 is the full one, -1 its delta, the others are shards."""
    pointers = hierarchy.pointers(crl.issuer, authority.status_url)
    return {
        "issuer": crl.issuer,
        "shard": crl.shard,
        "number": crl.number,
        "this_update": rfc3339(crl.this_update),
        "next_update": rfc3339(crl.next_update),
        "base": crl.base.number if crl.base else None,
        "entries": crl.entries,
        "url": pointers.delta if crl.shard == DELTA else pointers.list(crl.shard),
    }
