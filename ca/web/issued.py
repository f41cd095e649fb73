"""A certificate as the API hands it out: PEM, chain, and the JSON that an agent gets."""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache
from random import SystemRandom
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse, Response

from ca.authority.authority import Authority
from ca.authority.issuance import Issued
from ca.identifiers import AgentId, SpiffeId
from ca.pki.certificate import Issuer
from ca.pki.extensions import carried
from ca.pki.profile import Kind
from ca.policy.renewal import renew_after
from ca.store.certificates import Intent
from ca.web.bodies import rfc3339

PEM_CHAIN = "application/pem-certificate-chain"  # RFC 8555 9.1

_PEM_COLUMNS = 64  # RFC 7468 2
_JITTER = SystemRandom()
_NO_STORE = {"Cache-Control": "no-store"}


def answer(authority: Authority, headers: Headers, issued: Issued) -> Response:
    """201 with JSON, or with the chain alone for whoever accepts that."""
    leaf = pem(issued.der)
    chain = leaf + issuer_pem(authority.issuer)
    if PEM_CHAIN in headers.get("accept", ""):
        return PlainTextResponse(chain, 201, _NO_STORE, media_type=PEM_CHAIN)
    return JSONResponse(_described(authority, issued, leaf, chain), 201, _NO_STORE)


def pem(der: bytes) -> str:
    """A certificate in PEM (RFC 7468)."""
    text = b64encode(der).decode()
    lines = "\n".join(text[start : start + _PEM_COLUMNS] for start in range(0, len(text), _PEM_COLUMNS))
    return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"


@lru_cache(maxsize=8)
def issuer_pem(issuer: Issuer) -> str:
    """The issuing CA's certificate in PEM, the second of every chain."""
    return pem(issuer.certificate.public_bytes(Encoding.DER))


def spiffe_id(authority: Authority, intent: Intent) -> str | None:
    """The URI that an agent's certificate names it by; None for what is not an agent's."""
    if intent.kind is not Kind.AGENT or intent.tenant is None:
        return None
    return SpiffeId.agent(authority.names.trust_domain, intent.tenant, AgentId(intent.holder)).uri


def _described(authority: Authority, issued: Issued, leaf: str, chain: str) -> dict[str, Any]:
    intent, task, overlap = issued.intent, None, authority.lifetimes.overlap
    if issued.intent.task is not None:
        task, _ = carried(issued.der, authority.names.oid_arc)
    return {
        "serial": str(intent.serial),
        "certificate": leaf,
        "chain": chain,
        "not_before": rfc3339(intent.not_before),
        "not_after": rfc3339(intent.not_after),
        "renew_after": rfc3339(renew_after(intent.created_at, intent.not_after, overlap, _JITTER.random())),
        "x5t#S256": issued.x5t.base64url,
        "spiffe_id": spiffe_id(authority, intent),
        # What an authorization server knows the agent by, whatever certificate it holds today.
        "client_id": f"{authority.public_url}/clients/{intent.tenant}/{intent.holder}",
        "task": intent.task,
        "scope": (task and task.scope) or "",
        "resources": list(task.resources) if task else [],
    }
