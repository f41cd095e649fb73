"""The application over a stage, called in this process as an operator, an agent or a stranger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from fastapi import FastAPI

from ca.authority import operators
from ca.authority.issuance import Issued
from ca.authority.publisher import Publisher
from ca.identifiers import OperatorName
from ca.refusals import Reason
from ca.store.operators import Role
from ca.web.app import build
from ca.web.issued import pem
from ca.web.peer import Receive, Scope, Send
from ca.web.problems import STATUS, TYPE
from tests.ca.authority.stage import Stage, new_key, request, run


class Waking(Publisher):
    """Counts how often it was woken."""

    woken = 0

    def wake(self) -> None:
        """Once more."""
        self.woken += 1


class Calls:
    """`as_` whom is a certificate; None is a stranger."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.publisher = Waking(stage.authority, "ours")
        self.door = build(stage.authority, self.publisher, _no_life)

    def operator(self, name: str, role: Role = Role.OPERATOR) -> Issued:
        """A new operator."""
        asked = request(new_key())
        return run(operators.add(self.stage.authority, OperatorName(name), role, asked, "ceremony"))[1]

    def post(self, path: str, as_: Issued | None, body: dict[str, Any] | None = None) -> httpx2.Response:
        """A call that acts."""
        return self._call("POST", path, as_, body)

    def get(self, path: str, as_: Issued | None) -> httpx2.Response:
        """A call that reads."""
        return self._call("GET", path, as_, None)

    def _call(self, method: str, path: str, as_: Issued | None, body: dict[str, Any] | None) -> httpx2.Response:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if as_ is not None:
                scope.setdefault("extensions", {})["tls"] = {"client_cert_chain": [pem(as_.der)]}
            await self.door(scope, receive, send)

        async def call() -> httpx2.Response:
            transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
            async with httpx2.AsyncClient(transport=transport, base_url="https://ca.example") as client:
                return await client.request(method, path, json=body)

        return run(call())


def refused(answer: httpx2.Response, reason: Reason) -> bool:
    """Whether it is this problem."""
    return (answer.status_code, answer.json()["type"]) == (STATUS[reason], TYPE + reason.value)


@asynccontextmanager
async def _no_life(_app: FastAPI) -> AsyncIterator[None]:
    yield
