"""Refusals as HTTP: `application/problem+json` with a stable `type` (RFC 9457). The one place that knows both."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ca.authority import failure
from ca.authority.authority import Authority
from ca.refusals import Reason, Refused
from ca.web.peer import Scope

TYPE = "urn:remit:problem:"
RETRY_AFTER_SECONDS = 2

STATUS: dict[Reason, HTTPStatus] = {
    Reason.MALFORMED: HTTPStatus.BAD_REQUEST,
    Reason.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Reason.UNSUPPORTED_MEDIA_TYPE: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Reason.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Reason.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    Reason.CONFLICT: HTTPStatus.CONFLICT,
    Reason.IDEMPOTENCY_MISMATCH: HTTPStatus.UNPROCESSABLE_ENTITY,
    Reason.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    Reason.FORBIDDEN: HTTPStatus.FORBIDDEN,
    Reason.TOKEN_INVALID: HTTPStatus.UNAUTHORIZED,
    Reason.CSR_MALFORMED: HTTPStatus.BAD_REQUEST,
    Reason.CSR_UNPROVEN: HTTPStatus.BAD_REQUEST,
    Reason.CSR_IDENTITY: HTTPStatus.BAD_REQUEST,
    Reason.CSR_EXTENSION: HTTPStatus.BAD_REQUEST,
    Reason.KEY_REFUSED: HTTPStatus.BAD_REQUEST,
    Reason.AGENT_SUSPENDED: HTTPStatus.FORBIDDEN,
    Reason.TASK_ENDED: HTTPStatus.FORBIDDEN,
    Reason.SCOPE_EXCEEDED: HTTPStatus.FORBIDDEN,
    Reason.RESOURCE_EXCEEDED: HTTPStatus.FORBIDDEN,
    Reason.DETAILS_EXCEEDED: HTTPStatus.FORBIDDEN,
    Reason.DEPTH_EXCEEDED: HTTPStatus.FORBIDDEN,
    Reason.DELEGATION_ENDED: HTTPStatus.FORBIDDEN,
    Reason.POLICY_DENIED: HTTPStatus.FORBIDDEN,
    Reason.LIFETIME_REFUSED: HTTPStatus.BAD_REQUEST,
    Reason.REASON_REFUSED: HTTPStatus.BAD_REQUEST,
    Reason.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Reason.LINT_FAILED: HTTPStatus.INTERNAL_SERVER_ERROR,
    Reason.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
}

_FROM_STATUS = {
    404: (Reason.NOT_FOUND, "There is nothing at this path; the API is described at /openapi.json."),
    405: (Reason.METHOD_NOT_ALLOWED, "This path does not take this method; see /openapi.json."),
}

_log = structlog.get_logger("remit.web")


class Problem(JSONResponse):
    """A refusal on its way out."""

    media_type = "application/problem+json"

    def __init__(self, reason: Reason, detail: str) -> None:
        status = STATUS[reason]
        self.detail = detail
        title = reason.value.replace("-", " ").capitalize()
        body = {"type": TYPE + reason.value, "title": title, "status": status.value, "detail": detail}
        super().__init__(body, status.value, _headers(status))


def install(app: FastAPI) -> None:
    """Every way in which a request can fail ends in a `Problem`; no trace leaves."""

    @app.exception_handler(Refused)
    async def refused(_request: Request, refusal: Refused) -> Problem:
        return of_refusal(refusal)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> Problem:
        return of_invalid(error)

    @app.exception_handler(HTTPException)
    async def http(_request: Request, error: HTTPException) -> Problem:
        reason, detail = _FROM_STATUS.get(error.status_code, (Reason.MALFORMED, "The request could not be read."))
        return Problem(reason, detail)

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> Problem:
        return await of_fault(request.app.state.authority, request.scope, error)


def of_refusal(refusal: Refused) -> Problem:
    """What a refusal says; those that are our own fault are logged with their cause."""
    if STATUS[refusal.reason] >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.warning("refused", reason=refusal.reason.value, cause=repr(refusal.__cause__))
    return Problem(refusal.reason, refusal.detail)


def of_invalid(error: RequestValidationError) -> Problem:
    """What was wrong with a body, by its first fault."""
    return Problem(Reason.MALFORMED, _sentence(error.errors()[0]))


async def of_fault(authority: Authority, scope: Scope, error: Exception) -> Problem:
    """What nobody foresaw: the log gets the trace, the audit trail that it failed, the caller a sentence.

    What would have been answered is not: a certificate that was recorded stays revocable, and nobody has it.
    """
    _log.error("fault", path=scope["path"], error=repr(error), exc_info=error)
    route = scope.get("route")
    act = f"{scope['method']} {getattr(route, 'path', scope['path'])}"
    await failure.note(authority, scope.get("state", {}).get("caller"), act, error)
    return Problem(Reason.INTERNAL, "Something went wrong here, not in your request; nothing was issued.")


def _headers(status: HTTPStatus) -> dict[str, str]:
    headers = {"Cache-Control": "no-store"}
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="remit"'
    return headers


def _sentence(error: Any) -> str:
    """What is wrong and where, without echoing what was sent: it may hold a secret."""
    where = ".".join(str(part) for part in error["loc"] if part != "body") or "The body"
    if error["type"] == "extra_forbidden":
        return f"{where} is not a member of this request."
    return f"{where}: {error['msg'][:1].lower()}{error['msg'][1:]}."
