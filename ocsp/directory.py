"""Which CAs there are, who signs for them, and which lists they published: all that is known beside the serials."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ca.identifiers import Thumbprint
from ca.pki.keys import PublicKey, thumbprint
from ca.refusals import Refused
from ca.store.crls import Heading
from ca.store.status import Authority, Responder
from ocsp.answer import Signatory
from ocsp.request import IssuerHash, issuer_hashes


@dataclass(frozen=True, slots=True)
class Directory:
    """The CAs by name and by CertID, the responder of each that has one, and why a newer one cannot sign."""

    authorities: Mapping[str, Authority]
    issuers: Mapping[IssuerHash, Authority]
    signatories: Mapping[str, Signatory]
    refused: Mapping[str, str]
    lists: Mapping[tuple[str, int], Heading]

    def signatory(self, authority_id: str, now: datetime) -> Signatory | None:
        """Who signs for this CA, unless its certificate has ended."""
        signatory = self.signatories.get(authority_id)
        if signatory is None or signatory.certificate.not_valid_after_utc <= now:
            return None
        return signatory

    def faults(self, now: datetime) -> list[str]:
        """One sentence for each CA that issues and whose answers nobody can sign."""
        if not self.authorities:
            return ["There is no CA in the database; 'remit init' makes one."]
        return [
            self.refused.get(one.id, f"There is no responder certificate in force for {one.id}.")
            for one in self.authorities.values()
            if one.kind == "issuing" and self.signatory(one.id, now) is None
        ]

    def late(self, now: datetime) -> list[Heading]:
        """The lists that are past half of their life: the authority makes new ones well before."""
        return [one for one in self.lists.values() if now - one.this_update > one.next_update - now]


class Reader(Protocol):
    """What of `ca.store.status.StatusReader` is read here."""

    def authorities(self) -> list[Authority]: ...
    def responders(self, authority_id: str, now: datetime) -> list[Responder]: ...
    def lists(self) -> list[Heading]: ...


class DirectoryReader:
    """Reads a `Directory`, and makes the responders' keys ready to sign.

    `adopt` does that for the private half of a key; it raises `TokenFault`.
    """

    def __init__(self, reader: Reader, adopt: Callable[[str, PublicKey], None]) -> None:
        self._reader = reader
        self._adopt = adopt
        self._adopted: set[Thumbprint] = set()

    def read(self, now: datetime) -> Directory:
        """What is in force now. Raises whatever the database's driver does."""
        authorities = self._reader.authorities()
        signatories, refused = {}, {}
        for one in authorities:
            able, why = self._first_able(one.id, self._reader.responders(one.id, now))
            if able:
                signatories[one.id] = able
            if why:
                refused[one.id] = why
        return Directory(
            authorities={one.id: one for one in authorities},
            issuers={key: one for one in authorities for key in issuer_hashes(one.certificate)},
            signatories=signatories,
            refused=refused,
            lists={(one.issuer, one.shard): one for one in self._reader.lists()},
        )

    def _first_able(self, authority_id: str, responders: Sequence[Responder]) -> tuple[Signatory | None, str]:
        """Roll-over without a gap: while the newest one's key cannot sign, the one before it goes on to its end."""
        why = ""
        for responder in responders:
            try:
                signatory = Signatory.of(responder.certificate)
                self._make_ready(signatory.public_key, f"OCSP of {authority_id}")
            except Refused as refused:
                why = why or str(refused)
            else:
                return signatory, why
        return None, why

    def _make_ready(self, public_key: PublicKey, label: str) -> None:
        name = thumbprint(public_key)
        if name not in self._adopted:
            self._adopt(label, public_key)
            self._adopted.add(name)
