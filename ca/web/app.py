"""The API's application: routes, limits, problems; nothing starts here."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI

from ca.authority.authority import Authority
from ca.authority.publisher import Publisher
from ca.web import agents, certificates, crls, enrolment, est, operators, problems, public, revocations, tasks, tokens
from ca.web.enrolment import Door
from ca.web.est import Est
from ca.web.limits import BodyLimit

DESCRIPTION = "The certificate authority for AI agents. Errors are RFC 9457 problems with a stable `type`."


Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def build(authority: Authority, publisher: Publisher, lifespan: Lifespan) -> Door:
    """The ASGI application. The publisher is woken after every revocation."""
    app = FastAPI(
        title="Remit",
        version="0.1.0",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.authority = authority
    app.state.publisher = publisher
    problems.install(app)
    app.add_middleware(BodyLimit)
    for noun in (certificates, revocations, agents, tasks, tokens, operators, crls, public):
        app.include_router(noun.router)
    _describe_the_doors(app)
    return Door(Est(app, authority), authority)


def _describe_the_doors(app: FastAPI) -> None:
    """Enrolment and EST in the document that the framework makes of all other routes."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        document = described()
        document["paths"].setdefault(enrolment.PATH, {})["post"] = enrolment.OPERATION
        document["paths"].update(est.DESCRIPTION)
        return document

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way to extend the document
