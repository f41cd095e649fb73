"""What an agent asks of its authority: to be enrolled, renewed, to have a child certified, to end its task."""

from __future__ import annotations

from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

from remit import trust
from remit.client import Client
from remit.credential import Credential
from remit.failed import Failed
from remit.keys import AgentKey
from remit.tls import present

_ENROL = "/v1/certificates"
_PATIENCE = 10.0
"""For how many seconds a busy authority is asked again where nobody else will: enrolment and renewal have a holder."""


@dataclass(frozen=True, slots=True)
class Draft:
    """One request for a certificate, sent again as it is when its answer was lost: that gets the same certificate."""

    key: AgentKey = field(default_factory=AgentKey.generate)
    idempotency_key: str = field(default_factory=lambda: token_hex(16))


class Authority:
    """One authority: its URL, and its root in PEM or the root's SHA-256. Raises `Failed` without either.

    With the fingerprint, the root is fetched when it is first needed, before anything is sent.
    """

    def __init__(self, url: str, *, root: bytes | None = None, root_fingerprint: str | None = None) -> None:
        if root is None and root_fingerprint is None:
            raise Failed("Give the authority's root certificate, or its SHA-256 fingerprint as 'remit init' prints it.")
        self.url = url.rstrip("/")
        self._root = root
        self._fingerprint = None if root_fingerprint is None else trust.parsed_fingerprint(root_fingerprint)
        if root is not None and not self.trusts(root):
            raise Failed("The root certificate given is not the one of the fingerprint given.")

    @property
    def root(self) -> bytes:
        """The root in PEM. Raises `Failed`."""
        if self._root is None:
            self._root = trust.fetched_root(self.url, self._fingerprint or "")
        return self._root

    def trusts(self, root: bytes) -> bool:
        """Whether this is the root that was given or named. Raises `Failed`."""
        if self._fingerprint is None:
            return self._root is not None and trust.fingerprint_of(root) == trust.fingerprint_of(self._root)
        return trust.fingerprint_of(root) == self._fingerprint

    def adopt(self, root: bytes) -> None:
        """Takes a root that `trusts` accepted, which saves fetching it."""
        self._root = root

    def enroll(self, draft: Draft, proof: str, asked: dict[str, Any]) -> dict[str, Any]:
        """`asked` may hold `task`, `scope` and `not_after`. Raises `Failed`."""
        headers = {"Authorization": f"Bearer {proof}", "Idempotency-Key": draft.idempotency_key}
        return self._call(None, _ENROL, {"csr": draft.key.csr(), **asked}, headers)

    def renew(self, draft: Draft, credential: Credential, asked: dict[str, Any]) -> dict[str, Any]:
        """`asked` may hold `scope` and `not_after`. Raises `Failed`."""
        headers = {"Idempotency-Key": draft.idempotency_key}
        return self._call(credential, f"{_ENROL}/renew", {"csr": draft.key.csr(), **asked}, headers)

    def delegate(self, credential: Credential, csr: str, asked: dict[str, Any]) -> dict[str, Any]:
        """`asked` may hold `agent`, `scope`, `resources`, `authorization_details`, `max_depth` and `not_after`.

        Raises `Failed`.
        """
        return self._call(credential, f"{_ENROL}/delegate", {"csr": csr, **asked}, {}, wait=_PATIENCE)

    def complete(self, credential: Credential) -> dict[str, Any]:
        """Ends the task that the credential is for. Raises `Failed`."""
        if credential.task is None:
            raise Failed("This certificate is for no task; there is nothing to complete.")
        return self._call(credential, f"/v1/tasks/{credential.task}/complete", None, {}, wait=_PATIENCE)

    def _call(
        self, credential: Credential | None, path: str, body: Any, headers: dict[str, str], *, wait: float = 0.0
    ) -> dict[str, Any]:
        """A connection of its own: it presents what it is asked with, and nothing is kept open for minutes."""
        context = trust.context_of(self.root)
        if credential is not None:
            present(context, credential.key, credential.chain)
        with Client(self.url, context, wait=wait) as client:
            answer = client.call("POST", path, json=body, headers=headers)
        if not isinstance(answer, dict):
            raise Failed(f"{self.url} answered something else; is it a Remit authority?")
        return answer
