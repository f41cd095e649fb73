"""What agents send to be certified, renewed, or to have a child certified: bodies, and how OpenAPI describes them."""

from __future__ import annotations

from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import Field, ValidationError

from ca.identifiers import AgentId, TaskId
from ca.policy import scope
from ca.policy.ceiling import Asked
from ca.policy.delegation import DEEPEST
from ca.policy.details import Details
from ca.policy.scope import Scope
from ca.refusals import Reason, Refused
from ca.web.bodies import Body, Time
from ca.web.issued import PEM_CHAIN

JSON = "application/json"
PKCS10 = "application/pkcs10"  # RFC 5967

_Body = TypeVar("_Body", bound=Body)


class _Csr(Body):
    csr: str = Field(description="PKCS #10 in PEM, or base64 of its DER.", max_length=16384)
    scope: str | None = Field(None, description="A narrower scope (RFC 6749 3.3) than may be had.")
    not_after: Time | None = Field(None, description="An earlier end than policy gives.")


class EnrolmentBody(_Csr):
    """What an agent sends for its first certificate."""

    task: str | None = Field(None, description="The task that the token was made for, or one of the agent's own.")


class RenewalBody(_Csr):
    """What an agent sends for its next one; the key may be the same or another."""


class DelegationBody(_Csr):
    """What a parent sends for a child. What is not asked for is all that the parent has."""

    agent: str | None = Field(None, description="The child's name, `<parent>.<suffix>`; one is made up without it.")
    resources: list[str] | None = Field(None, description="Of the parent's resources (RFC 8707).")
    authorization_details: list[dict[str, Any]] | None = Field(None, description="Within the parent's (RFC 9396).")
    max_depth: int | None = Field(None, ge=0, le=DEEPEST, description="Generations that the child may have below it.")


def enrolment(content_type: str, raw: bytes) -> tuple[bytes, Asked]:
    """The CSR as it was sent, and what was asked for beside it. Raises `Refused`, `RequestValidationError`."""
    if _is_bare(content_type):
        return raw, Asked()
    body = _parsed(EnrolmentBody, raw)
    return body.csr.encode(), Asked(
        task=TaskId(body.task) if body.task is not None else None,
        scope=_scope(body),
        not_after=body.not_after,
    )


def renewal(content_type: str, raw: bytes) -> tuple[bytes, Asked]:
    """As `enrolment`; the task stays."""
    if _is_bare(content_type):
        return raw, Asked()
    body = _parsed(RenewalBody, raw)
    return body.csr.encode(), Asked(scope=_scope(body), not_after=body.not_after)


def delegation(content_type: str, raw: bytes) -> tuple[bytes, Asked, AgentId | None]:
    """As `enrolment`, and the name of the child."""
    if _is_bare(content_type):
        return raw, Asked(), None
    body = _parsed(DelegationBody, raw)
    asked = Asked(
        scope=_scope(body),
        not_after=body.not_after,
        resources=None if body.resources is None else scope.resources(body.resources),
        details=None if body.authorization_details is None else Details.of(body.authorization_details),
        levels=body.max_depth,
    )
    return body.csr.encode(), asked, None if body.agent is None else AgentId(body.agent)


def _is_bare(content_type: str) -> bool:
    """Whether the body is the CSR alone. Raises `Refused(UNSUPPORTED_MEDIA_TYPE)` for neither form."""
    match content_type.partition(";")[0].strip().lower():
        case "application/json":
            return False
        case "application/pkcs10":
            return True
        case _:
            raise Refused(Reason.UNSUPPORTED_MEDIA_TYPE, f"Send {JSON} or {PKCS10}.")


def _scope(body: _Csr) -> Scope | None:
    return Scope.parse(body.scope) if body.scope is not None else None


def _parsed(kind: type[_Body], raw: bytes) -> _Body:
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_input=False, include_url=False)) from None


def _header(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": {"type": "string"}}


def _operation(summary: str, name: str, description: str, body: type[Body], *headers: dict[str, Any]) -> dict[str, Any]:
    return {
        "tags": ["certificates"],
        "summary": summary,
        "description": description,
        "operationId": name,
        "parameters": [
            *headers,
            _header("Idempotency-Key", "Sent again with the same request, it gets the same certificate."),
        ],
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": body.model_json_schema()},
                PKCS10: {"schema": {"type": "string", "format": "binary"}},
            },
        },
        "responses": {
            "201": {
                "description": "The certificate.",
                "content": {JSON: {"schema": {"type": "object"}}, PEM_CHAIN: {"schema": {"type": "string"}}},
            }
        },
    }


OPERATIONS: dict[str, dict[str, Any]] = {
    "/v1/certificates": _operation(
        "Enrol Agent",
        "enrol_agent_v1_certificates_post",
        "One certificate for one proof of identity and a CSR: an enrolment token, a JWT of a provider that is "
        "configured, or a live client certificate. The same again for the same `Idempotency-Key`.",
        EnrolmentBody,
        _header("Authorization", "`Bearer` and the enrolment token or JWT; none with a client certificate."),
    ),
    "/v1/certificates/renew": _operation(
        "Renew Certificate",
        "renew_v1_certificates_renew_post",
        "The next certificate of the same identity and task, for the agent whose live client certificate is shown.",
        RenewalBody,
    ),
    "/v1/certificates/delegate": _operation(
        "Delegate",
        "delegate_v1_certificates_delegate_post",
        "A child's certificate, within what the client certificate of its parent says, and within its life.",
        DelegationBody,
    ),
}
"""The endpoints in OpenAPI 3.1, for the document that FastAPI makes of all others."""
