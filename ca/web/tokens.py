"""`/v1/enrollment-tokens`: one-time tokens, shown once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Response
from pydantic import Field

from ca.authority import tokens
from ca.identifiers import AgentId, TaskId, Thumbprint
from ca.web.bodies import Body, rfc3339, tenant_id
from ca.web.callers import Admitter, TheAuthority

router = APIRouter(tags=["enrolment tokens"])


class TokenBody(Body):
    """For whom, and for how long."""

    agent: str
    tenant: str | None = None
    task: str | None = None
    ttl: int = Field(int(tokens.DEFAULT_LIFETIME.total_seconds()), ge=1, description="Seconds, at most an hour.")
    key_thumbprint: str | None = Field(None, description="SHA-256 of the one SubjectPublicKeyInfo it opens for.")


@router.post("/v1/enrollment-tokens", status_code=201)
def create(authority: TheAuthority, who: Admitter, body: TokenBody, response: Response) -> dict[str, Any]:
    """Makes a token. This answer is the only place where its text ever is."""
    response.headers["Cache-Control"] = "no-store"
    text, record = tokens.create(
        authority,
        tenant=tenant_id(body.tenant),
        agent=AgentId(body.agent),
        task=TaskId(body.task) if body.task is not None else None,
        key=Thumbprint.parse(body.key_thumbprint) if body.key_thumbprint is not None else None,
        lifetime=timedelta(seconds=body.ttl),
        actor=who.name,
    )
    return {
        "token": text,
        "tenant": record.tenant,
        "agent": record.agent,
        "task": record.task,
        "expires_at": rfc3339(record.expires_at),
    }
