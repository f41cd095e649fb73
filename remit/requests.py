"""Which request brings the next certificate, and that one whose answer was lost is sent again as it was."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from remit.authority import Authority, Draft
from remit.credential import Credential
from remit.failed import Failed
from remit.proof import Proofs, Unproven

_RENEWAL, _ENROLMENT = "renewal", "enrolment"
_DRAFT_HOLDS = timedelta(minutes=2)
"""For so long a renewal is repeated as it was; what is asked for later is asked anew, with another key."""


class Requests:
    """What one agent asks of its authority. `asked` may have `task`, `scope` and `not_after`."""

    def __init__(
        self, authority: Authority, proofs: Proofs, asked: dict[str, Any], clock: Callable[[], datetime]
    ) -> None:
        self._authority = authority
        self._proofs = proofs
        self._asked = asked
        self._clock = clock
        self._draft: tuple[str, Draft, datetime] | None = None
        self._shown: str | None = None

    def were_answered(self) -> None:
        """What was asked for is in its holder's hands: the next request is another, and the proof may be spent."""
        if self._shown is not None:
            self._proofs.was_taken(self._shown)
        self._draft = self._shown = None

    def were_refused(self) -> None:
        """For good: the next request is another."""
        self._draft = None

    def ask(self, credential: Credential | None) -> Credential:
        """Renewal until the end; then enrolment with another proof, and without one what could still be in time.

        Raises `Failed`.
        """
        if credential is not None and self._clock() < credential.not_after:
            return self._renewed(credential)
        proof = self._proofs.next()
        if proof is not None:
            return self._enrolled(proof)
        if credential is not None:
            return self._renewed_late(credential)
        raise Unproven("There is no proof of identity to enrol with: give a token, a file or a function.")

    def _drafted(self, purpose: str) -> Draft:
        """The request that was not answered, or a new one. An enrolment's is kept: its token is spent on its key."""
        now = self._clock()
        kept = self._draft
        if kept is None or kept[0] != purpose or (purpose == _RENEWAL and now - kept[2] > _DRAFT_HOLDS):
            kept = self._draft = purpose, Draft(), now
        return kept[1]

    def _renewed(self, credential: Credential) -> Credential:
        draft = self._drafted(_RENEWAL)
        asked = {name: value for name, value in self._asked.items() if name == "scope"}
        return self._made(draft, self._authority.renew(draft, credential, asked))

    def _renewed_late(self, credential: Credential) -> Credential:
        """Only a clock that is ahead of the authority's makes this succeed."""
        try:
            return self._renewed(credential)
        except Failed as error:
            raise Failed(
                f"The certificate expired at {credential.not_after:%Y-%m-%dT%H:%M:%SZ} and there is no proof to enrol "
                "anew with: a one-time token opens once. Give a new token.",
                error.kind,
                retry_after=error.retry_after,
            ) from error

    def _enrolled(self, proof: str) -> Credential:
        draft = self._drafted(_ENROLMENT)
        self._shown = proof
        return self._made(draft, self._authority.enroll(draft, proof, self._asked))

    def _made(self, draft: Draft, answer: dict[str, Any]) -> Credential:
        return Credential.of(draft.key.pem, self._authority.root, answer, self._clock())
