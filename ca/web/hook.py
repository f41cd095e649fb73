"""`POST /v1/as/introspect` and `.../bind`: asked at every token and every call, so it stands before the framework."""

from __future__ import annotations

import asyncio

from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response

from ca.authority.authority import Authority
from ca.hook import answers
from ca.hook.answers import Answer
from ca.hook.bind import bind
from ca.hook.inquiry import Asker, ByCertificate, ByKey, Caller, Inquiry
from ca.hook.lookups import Lookups
from ca.identifiers import Thumbprint
from ca.policy import binding
from ca.policy.binding import Denied, Wanted
from ca.refusals import Reason, Refused
from ca.web import problems
from ca.web.callers import PERMISSIONS, Act
from ca.web.limits import whole
from ca.web.peer import Application, Receive, Scope, Send, peer_thumbprint
from ca.web.questions import BindQuestion, Question, parsed

PATH = "/v1/as"
INTROSPECT, BIND = f"{PATH}/introspect", f"{PATH}/bind"

KEY_PREFIX = "remit_rp_"
"""Of a relying party's key: what a scanner of leaked secrets can look for."""

_ROLES = frozenset(role for role, acts in PERMISSIONS.items() if Act.ASK in acts)


class Hook:
    """An ASGI application that answers these itself and passes everything else on.

    Its `lookups` are for all who ask in this process.
    """

    def __init__(self, app: Application, authority: Authority) -> None:
        self._app = app
        self._authority = authority
        self._acts = {INTROSPECT: self._introspect, BIND: self._bind}
        self.lookups = Lookups(authority)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The status is about the call; what a certificate is worth is in the body."""
        act = self._acts.get(scope["path"]) if scope["type"] == "http" else None
        if act is None or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        response: Response
        try:
            body = await whole(scope, receive)
            response = self._response(await act(scope, Headers(scope=scope), body))
        except Refused as refusal:
            response = problems.of_refusal(refusal)
        except RequestValidationError as error:
            response = problems.of_invalid(error)
        except Exception as error:  # noqa: BLE001 (border: whatever it is, the caller gets a problem and no trace)
            response = await problems.of_fault(self._authority, scope, error)
        await response(scope, receive, send)

    async def _introspect(self, scope: Scope, headers: Headers, body: bytes) -> Answer:
        question = parsed(Question, headers.get("content-type", ""), body)
        found = await self.lookups.ask(Inquiry(_caller(scope, headers), question.about()))
        told, subject, now = _permitted(found.asker).party.sees_reasons, found.subject, self._authority.clock()
        if subject is None:
            return answers.denied(answers.unknown(foreign=found.foreign), told=told)
        wanted = Wanted(client_id=question.client_id)
        decision = binding.decide(subject.standing, wanted, now, self._authority.token_lifetime)
        if isinstance(decision, Denied):
            return answers.denied(decision, told=told)
        return answers.allowed(self._authority, subject, decision, now)

    async def _bind(self, scope: Scope, headers: Headers, body: bytes) -> Answer:
        question = parsed(BindQuestion, headers.get("content-type", ""), body)
        asked, order = Inquiry(_caller(scope, headers), question.about()), question.order()
        bound = await asyncio.wrap_future(
            self._authority.database.write(lambda connection: bind(self._authority, connection, asked, order, _ROLES))
        )
        _permitted(bound.asker)
        return bound.answer or {}

    def _response(self, answer: Answer) -> Response:
        return JSONResponse(answer, headers={"Cache-Control": answers.cache_control(answer, self._authority.clock())})


def _permitted(asker: Asker | None) -> Asker:
    if asker is None:
        raise Refused(Reason.UNAUTHENTICATED, "This needs a relying party's client certificate or key.")
    if asker.role not in _ROLES:
        raise Refused(Reason.FORBIDDEN, f"The role {asker.role.value} may not {Act.ASK.value}.")
    return asker


def _caller(scope: Scope, headers: Headers) -> Caller:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key.startswith(KEY_PREFIX):
        return ByKey(Thumbprint.of(key.encode()))
    thumbprint = peer_thumbprint(scope)
    if thumbprint is None:
        raise Refused(Reason.UNAUTHENTICATED, "This needs a relying party's client certificate or key.")
    return ByCertificate(thumbprint)
