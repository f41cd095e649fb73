"""What anyone may read: the trust anchors, and whether the service is well."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ca.hsm import State
from ca.store import crls, schema
from ca.web.callers import TheAuthority

PEM = "application/x-pem-file"

router = APIRouter(tags=["public"])


@router.get("/ca/root.pem", response_class=Response)
def root(authority: TheAuthority) -> Response:
    """The trust anchor. Compare its SHA-256 with the fingerprint that the operator gave you."""
    return Response(authority.root.certificate.public_bytes(Encoding.PEM), media_type=PEM)


@router.get("/ca/chain.pem", response_class=Response)
def chain(authority: TheAuthority) -> Response:
    """The issuing CA and the root, in that order."""
    certificates = (authority.issuer.certificate, authority.root.certificate)
    return Response(b"".join(one.public_bytes(Encoding.PEM) for one in certificates), media_type=PEM)


@router.get("/healthz")
def health() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def ready(authority: TheAuthority) -> JSONResponse:
    """Whether a certificate could be issued and revoked now; 503 names the part that is in the way."""
    signer = authority.signer.health()
    parts = {"signer": (signer.state is State.UP, signer.sentence), **_database(authority)}
    is_ready = all(good for good, _ in parts.values())
    body: dict[str, Any] = {
        "status": "ready" if is_ready else "not ready",
        "parts": {name: {"ready": good, "detail": detail} for name, (good, detail) in parts.items()},
    }
    return JSONResponse(body, 200 if is_ready else 503, {"Cache-Control": "no-store"})


@router.get("/metrics", response_class=Response)
def metrics(_request: Request) -> Response:
    """Prometheus text format."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def _database(authority: TheAuthority) -> dict[str, tuple[bool, str]]:
    try:
        with authority.database.read() as connection:
            current = schema.is_current(connection)
            published = crls.headings(connection)
    except Exception as error:  # noqa: BLE001 (border: whatever is wrong with the database is the answer)
        return {"database": (False, f"The database does not answer ({type(error).__name__}).")}
    now = authority.clock()
    stale = [crl for crl in published if now > crl.this_update + (crl.next_update - crl.this_update) / 2]
    named = ", ".join(f"{crl.issuer}/{crl.shard}" for crl in stale)
    fresh = (not stale and bool(published), f"Past half of its life: {named or 'no CRL yet'}.")
    return {
        "database": (
            current,
            "The schema is current." if current else "Run 'remit init' to bring the schema up to date.",
        ),
        "crl": (True, "Every CRL is in the first half of its life.") if fresh[0] else fresh,
    }
