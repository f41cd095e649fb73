"""Why an act was refused: a closed set, and the exception that carries one of them.

Deciding returns values; doing raises `Refused`. Only `ca.web.problems` knows what a reason is in
HTTP, and a test walks every reason.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Every reason for which this authority says no. The value is the stable last part of a problem's `type`."""

    # The request itself.
    MALFORMED = "malformed"
    TOO_LARGE = "too-large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type"
    NOT_FOUND = "not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    CONFLICT = "conflict"
    IDEMPOTENCY_MISMATCH = "idempotency-mismatch"
    # Who asks.
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    TOKEN_INVALID = "token-invalid"  # noqa: S105 (a reason's name)
    # The certificate request.
    CSR_MALFORMED = "csr-malformed"
    CSR_UNPROVEN = "csr-unproven"
    CSR_IDENTITY = "csr-identity"
    CSR_EXTENSION = "csr-extension"
    KEY_REFUSED = "key-refused"
    # The grant.
    AGENT_SUSPENDED = "agent-suspended"
    TASK_ENDED = "task-ended"
    SCOPE_EXCEEDED = "scope-exceeded"
    RESOURCE_EXCEEDED = "resource-exceeded"
    DETAILS_EXCEEDED = "details-exceeded"
    DEPTH_EXCEEDED = "depth-exceeded"
    DELEGATION_ENDED = "delegation-ended"
    POLICY_DENIED = "policy-denied"
    LIFETIME_REFUSED = "lifetime-refused"
    # Revocation.
    REASON_REFUSED = "reason-refused"
    # Ourselves: nothing was signed, the caller may try again.
    UNAVAILABLE = "unavailable"
    LINT_FAILED = "lint-failed"
    INTERNAL = "internal"


class Refused(Exception):  # noqa: N818 (a refusal is an answer, not an error)
    """An act that was refused: the reason, and one sentence that says what to do about it.

    The sentence goes to the caller as it is, so it never holds a secret, a path, or whether
    something exists that the caller may not see.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
