"""The API's application: routes, limits, problems; nothing starts here."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI

from ca.authority.authority import Authority
from ca.authority.publisher import Publisher
from ca.proofs.providers import Providers
from ca.web import (
    agents,
    applications,
    certificates,
    crls,
    est,
    operators,
    problems,
    public,
    questions,
    revocations,
    tasks,
    tokens,
)
from ca.web.enrolment import Door
from ca.web.est import Est
from ca.web.hook import Hook
from ca.web.limits import BodyLimit

DESCRIPTION = "The certificate authority for AI agents. Errors are RFC 9457 problems with a stable `type`."


BUILTIN = Providers()
"""Enrolment tokens and this authority's own certificates, and nobody else's word."""

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def build(authority: Authority, publisher: Publisher, lifespan: Lifespan, providers: Providers = BUILTIN) -> Hook:
    """The ASGI application. The publisher is woken after every revocation; `providers` say who may enrol by what."""
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
    return Hook(Door(Est(app, authority, providers), authority, providers), authority)


def _describe_the_doors(app: FastAPI) -> None:
    """What stands before it, in the document that the framework makes of all other routes."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        document = described()
        for path, operation in applications.OPERATIONS.items():
            document["paths"].setdefault(path, {})["post"] = operation
        document["paths"].update(est.DESCRIPTION)
        document["paths"].update(questions.DESCRIPTION)
        return document

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way to extend the document
