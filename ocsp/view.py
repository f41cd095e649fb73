"""The database as this process sees it: which CAs there are, who signs for them, what became of a serial.

One thread reads. It looks several times a second whether anything changed; each change begins a new
generation, in which no earlier answer counts as true before it was proved again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from ca.hsm import TokenFault
from ca.identifiers import Serial, Thumbprint
from ca.pki.keys import PublicKey, thumbprint
from ca.refusals import Refused
from ca.store.status import Authority, CertificateStatus, Responder
from ocsp.answer import Signatory
from ocsp.batch import Batch, hop
from ocsp.request import IssuerHash, issuer_hashes

_T = TypeVar("_T")

POLL = 0.1
"""Seconds between two looks: the longest that a revocation stays unseen by this process."""

RETRY = 1.0
"""Seconds between two looks while something is missing."""

_Question = tuple[str, Sequence[Serial]]
_Statuses = dict[Serial, CertificateStatus]


class PublishedCrl(Protocol):
    """A CRL as it is served."""

    @property
    def der(self) -> bytes: ...
    @property
    def this_update(self) -> datetime: ...
    @property
    def next_update(self) -> datetime: ...


class Reader(Protocol):
    """`ca.store.status.StatusReader`, or in tests a dictionary."""

    def authorities(self) -> list[Authority]: ...
    def responder(self, authority_id: str, now: datetime) -> Responder | None: ...
    def statuses(self, authority_id: str, serials: Sequence[Serial]) -> _Statuses: ...
    def crl(self, authority_id: str, shard: int = 0) -> PublishedCrl | None: ...
    def version(self) -> object: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Directory:
    """The CAs by name and by CertID, the responder of each that has one, and why one cannot sign."""

    authorities: Mapping[str, Authority]
    issuers: Mapping[IssuerHash, Authority]
    signatories: Mapping[str, Signatory]
    refused: Mapping[str, str]

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


class View:
    """`refresh` keeps it true; `directory` is None until the database was read for the first time.

    `adopt` makes the private half of a responder's key ready to sign; it raises `TokenFault`.
    """

    def __init__(self, reader: Reader, adopt: Callable[[str, PublicKey], None], clock: Callable[[], datetime]) -> None:
        self.generation = 0
        self.directory: Directory | None = None
        self.fault: str | None = "The database has not been read yet."
        self._reader = reader
        self._adopt = adopt
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "status-reader")
        self._lookups: Batch[_Question, _Statuses] = Batch(self._look_up)
        self._adopted: set[Thumbprint] = set()
        self._seen: object = None

    @property
    def pause(self) -> float:
        """Seconds to wait before the next `refresh`."""
        return RETRY if self._is_incomplete() else POLL

    async def refresh(self) -> None:
        """Begins a new generation if the database changed. A failure is kept in `fault`; what was known stays."""
        try:
            read = await hop(self._in_thread(self._read))
        except Refused as refused:
            self.fault = f"The database cannot be read. {refused.detail}"
            return
        self.fault = None
        if read is not None:
            self._seen, self.directory = read
            self.generation += 1

    async def statuses(self, authority_id: str, serials: Sequence[Serial]) -> _Statuses:
        """The status of each serial. Raises `Refused(UNAVAILABLE)`."""
        return await self._lookups.ask((authority_id, serials))

    async def crl(self, authority_id: str, shard: int) -> PublishedCrl | None:
        """The CRL in force. Raises `Refused(UNAVAILABLE)`."""
        return await hop(self._in_thread(lambda: self._reader.crl(authority_id, shard)))

    def close(self) -> None:
        """Ends the thread, then the reader's connections."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._reader.close()

    def _is_incomplete(self) -> bool:
        return self.fault is not None or self.directory is None or bool(self.directory.faults(self._clock()))

    def _in_thread(self, act: Callable[[], _T]) -> asyncio.Future[_T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, act)

    def _read(self) -> tuple[object, Directory] | None:
        # The version comes first: a commit after it shows in the next look, at worst once too often.
        version = self._reader.version()
        if version == self._seen and not self._is_incomplete():
            return None
        authorities = self._reader.authorities()
        issuers = {key: one for one in authorities for key in issuer_hashes(one.certificate)}
        signatories, refused = self._signatories(authorities)
        return version, Directory({one.id: one for one in authorities}, issuers, signatories, refused)

    def _signatories(self, authorities: list[Authority]) -> tuple[dict[str, Signatory], dict[str, str]]:
        signatories, refused = {}, {}
        for one in authorities:
            responder = self._reader.responder(one.id, self._clock())
            if responder is None:
                continue
            signatory = Signatory.of(responder.certificate)
            try:
                self._make_ready(signatory.public_key, f"OCSP of {one.id}")
            except TokenFault as fault:
                refused[one.id] = str(fault)
            else:
                signatories[one.id] = signatory
        return signatories, refused

    def _make_ready(self, public_key: PublicKey, label: str) -> None:
        name = thumbprint(public_key)
        if name not in self._adopted:
            self._adopt(label, public_key)
            self._adopted.add(name)

    async def _look_up(self, questions: list[_Question]) -> list[_Statuses]:
        return await self._in_thread(lambda: self._read_statuses(questions))

    def _read_statuses(self, questions: list[_Question]) -> list[_Statuses]:
        """One query for each CA, whatever the number of questions."""
        wanted: dict[str, set[Serial]] = {}
        for authority_id, serials in questions:
            wanted.setdefault(authority_id, set()).update(serials)
        found = {one: self._reader.statuses(one, sorted(serials)) for one, serials in wanted.items()}
        return [{serial: found[one][serial] for serial in serials} for one, serials in questions]
