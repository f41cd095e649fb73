"""The bodies of questions to the hook: a form (RFC 7662 2.1) or JSON, as what is asked about and what is wanted."""

from __future__ import annotations

import json
import ssl
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Literal, TypeVar
from urllib.parse import parse_qsl

from fastapi.exceptions import RequestValidationError
from pydantic import AliasChoices, Field, ValidationError

from ca.hook.bind import Method, Order
from ca.hook.inquiry import About, OfKey, OfSerial, OfThumbprint
from ca.identifiers import Serial, Thumbprint
from ca.policy import scope
from ca.policy.binding import Wanted
from ca.policy.ceiling import Principal
from ca.policy.details import Details
from ca.policy.reach import Narrower
from ca.policy.scope import Scope
from ca.refusals import Reason, Refused
from ca.web.bodies import Body, moment_of

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"

_X5T = "x5t#S256"
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_OBJECTS = ("authorization_details", "subject")
_LISTS = ("resource",)

_Body = TypeVar("_Body", bound="Question")


class Question(Body):
    """What a certificate is worth: named by itself, by its thumbprint, by its key's, or by issuer and serial."""

    certificate: str | None = Field(None, description="PEM, base64 of the DER, or that between colons (RFC 8941).")
    x5t: str | None = Field(None, validation_alias=AliasChoices(_X5T), description="As in a token's `cnf`.")
    jkt: str | None = Field(None, description="As in a token's `cnf` (RFC 9449 6.1).")
    issuer: str | None = Field(None, description="Its issuer's distinguished name (RFC 4514), beside `serial`.")
    serial: str | None = None
    client_id: str | None = Field(None, description="The client that shows it, where the caller knows it by one.")

    def about(self) -> About:
        """Raises `Refused(MALFORMED)` where not exactly one is named."""
        named = [self.certificate, self.x5t, self.jkt, self.serial]
        if sum(one is not None for one in named) != 1 or (self.issuer is None) is not (self.serial is None):
            raise Refused(Reason.MALFORMED, f"Send exactly one of certificate, {_X5T}, jkt, or issuer and serial.")
        if self.certificate is not None:
            der = _der(self.certificate)
            return OfThumbprint(Thumbprint.of(der), der)
        if self.x5t is not None:
            return OfThumbprint(Thumbprint.parse(self.x5t))
        if self.jkt is not None:
            return OfKey(Thumbprint.parse(self.jkt))
        return OfSerial(self.issuer or "", Serial.parse(self.serial or ""))


class Subject(Body):
    """The user on whose behalf a token is made."""

    iss: str = Field(max_length=512)
    sub: str = Field(max_length=512)


class BindQuestion(Question):
    """A token that is about to be made."""

    iss: str | None = Field(None, max_length=512, description="The authorization server.")
    grant_type: str | None = Field(None, max_length=200)
    scope: str | None = None
    resource: str | list[str] | None = None
    authorization_details: list[dict[str, Any]] | None = None
    subject: Subject | None = None
    dpop_jkt: str | None = None
    requested_exp: int | None = Field(None, ge=0)
    binding_method: Literal["x5t#S256", "jkt"] = "x5t#S256"

    def order(self) -> Order:
        """Raises `Refused(MALFORMED)`."""
        if self.binding_method == "jkt" and self.dpop_jkt is None:
            raise Refused(Reason.MALFORMED, "A token that is bound to a key needs dpop_jkt, the key of the DPoP proof.")
        uris = [self.resource] if isinstance(self.resource, str) else self.resource
        details = self.authorization_details
        narrower = Narrower(
            scope=None if self.scope is None else Scope.parse(self.scope),
            resources=None if uris is None else scope.resources(uris),
            details=None if details is None else Details.of(details),
        )
        wanted = Wanted(
            client_id=self.client_id,
            narrower=narrower,
            jkt=None if self.dpop_jkt is None else Thumbprint.parse(self.dpop_jkt).base64url,
            expires=None if self.requested_exp is None else moment_of(self.requested_exp),
        )
        return Order(
            wanted=wanted,
            method=Method(self.binding_method),
            issuer=self.iss,
            grant_type=self.grant_type,
            subject=None if self.subject is None else Principal(self.subject.iss, self.subject.sub),
        )


def parsed(kind: type[_Body], content_type: str, raw: bytes) -> _Body:
    """The body as a question of this kind. Raises `Refused`, `RequestValidationError`."""
    try:
        match content_type.partition(";")[0].strip().lower():
            case "application/json":
                return kind.model_validate_json(raw)
            case "application/x-www-form-urlencoded":
                return kind.model_validate(_members(raw))
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_input=False, include_url=False)) from None
    raise Refused(Reason.UNSUPPORTED_MEDIA_TYPE, f"Send {FORM} or {JSON}.")


def _members(raw: bytes) -> Mapping[str, Any]:
    """Parameters of a form: `resource` may stand in it several times (RFC 8707 2), the others once."""
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, strict_parsing=bool(raw), max_num_fields=64)
    except ValueError as error:
        raise Refused(Reason.MALFORMED, "The body is not a form.") from error
    members: dict[str, Any] = {}
    for name, text in pairs:
        if name in _LISTS:
            members.setdefault(name, []).append(text)
        elif name in members:
            raise Refused(Reason.MALFORMED, "A parameter of the form stands in it twice.")
        else:
            members[name] = _object(text) if name in _OBJECTS else text
    return members


def _object(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused(Reason.MALFORMED, f"{' and '.join(_OBJECTS)} are JSON.") from error


def _der(text: str) -> bytes:
    """What the SHA-256 is over; of a chain the leaf, which comes first. That it is ours shows when it is found."""
    try:
        if text.lstrip().startswith(_BEGIN):
            first = text.strip().partition(_END)
            return ssl.PEM_cert_to_DER_cert(first[0] + first[1])
        inner = text[1:-1] if len(text) > 1 and text[0] == text[-1] == ":" else text
        return b64decode(inner, validate=True)
    except ValueError as error:
        raise Refused(Reason.MALFORMED, "The certificate is PEM, or base64 of its DER.") from error


def _described(summary: str, name: str, description: str, body: type[Body]) -> dict[str, Any]:
    schema = body.model_json_schema()
    answer = {"description": "What it is worth.", "content": {JSON: {"schema": {"type": "object"}}}}
    return {
        "tags": ["hook"],
        "summary": summary,
        "description": description,
        "operationId": name,
        "requestBody": {"required": True, "content": {kind: {"schema": schema} for kind in (JSON, FORM)}},
        "responses": {"200": answer},
    }


DESCRIPTION: dict[str, dict[str, Any]] = {
    "/v1/as/introspect": {
        "post": _described(
            "Introspect Certificate",
            "introspect_v1_as_introspect_post",
            "What an agent's certificate is worth now (RFC 7662). For relying parties, by client certificate or key.",
            Question,
        )
    },
    "/v1/as/bind": {
        "post": _described(
            "Bind Token",
            "bind_v1_as_bind_post",
            "Whether a token may be bound to a certificate (RFC 8705), how far it reaches and until when; recorded.",
            BindQuestion,
        )
    },
}
"""The endpoints in OpenAPI 3.1, for the document that FastAPI makes of all others."""
