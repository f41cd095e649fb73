"""`/v1/crls`: which lists are in force, and a way to publish anew at once."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from fastapi import APIRouter

from ca.authority import hierarchy
from ca.authority.authority import Authority
from ca.authority.publish import publish
from ca.store import issuers
from ca.store.issuers import PublishedCrl
from ca.web.bodies import rfc3339
from ca.web.callers import Publisher, Reader, TheAuthority

router = APIRouter(prefix="/v1/crls", tags=["CRLs"])


@router.get("")
def search(authority: TheAuthority, _caller: Reader) -> dict[str, Any]:
    """The CRLs in force."""
    with authority.database.read() as connection:
        published = issuers.published(connection)
    return {"items": [describe(authority, crl) for crl in published], "next": None}


@router.post("/publish")
async def publish_now(authority: TheAuthority, _caller: Publisher) -> dict[str, Any]:
    """Signs and publishes every CRL anew."""
    return {"items": [describe(authority, crl) for crl in await publish(authority)], "next": None}


def describe(authority: Authority, crl: PublishedCrl) -> dict[str, Any]:
    """A CRL as the API shows it."""
    return {
        "issuer": crl.issuer,
        "shard": crl.shard,
        "number": crl.number,
        "this_update": rfc3339(crl.this_update),
        "next_update": rfc3339(crl.next_update),
        "entries": len(x509.load_der_x509_crl(crl.der)),
        "url": hierarchy.pointers(crl.issuer, authority.status_url).list(crl.shard),
    }
